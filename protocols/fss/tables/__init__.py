"""Tables: functions of a masked number as integers, cell by cell."""

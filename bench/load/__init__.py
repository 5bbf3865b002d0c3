"""Many private sessions at one service: are all right, all billed exactly, and how long did each wait?"""

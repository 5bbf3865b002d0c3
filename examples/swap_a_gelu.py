"""Another protocol for one operation: what GELUs cost, and what the model answers with each.

    python examples/swap_a_gelu.py

`mpcinfer list protocols` shows what there is to choose from; both parties must choose alike.
"""

import mpcinfer

MODEL, PROMPT, TOKENS = "tiny-python", "for i in", 6

for name in ("lines", "fine"):
    # What those of one prompt would cost, counted from shapes: nothing runs.
    bill = mpcinfer.cost(MODEL, tokens=32, choices=[f"gelu={name}"])
    gelu = next(row for row in bill.by_kind() if row.kind.startswith("gelu"))
    online = gelu.online_bytes_to_server + gelu.online_bytes_to_client
    offline = gelu.offline_bytes_to_server + gelu.offline_bytes_to_client
    print(f"gelu={name}: {gelu.rounds} rounds, {online:,} bytes online, {offline:,} offline")

    # The same in fixed point, in the clear: what the protocol does to the answer.
    model = mpcinfer.ClearModel(mpcinfer.load_model(MODEL), fixed_point=True, choices=[f"gelu={name}"])
    print(f"gelu={name}: {PROMPT + model.complete(PROMPT, max_new_tokens=TOKENS).text!r}")

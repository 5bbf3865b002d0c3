"""What a private run saves without norms and with its FFNs folded away: two bills of GPT-2's size.

    python examples/compare_architectures.py

Bills follow from shapes alone, so neither model needs weights.
"""

import mpcinfer

print(f"{'blocks of':28}{'rounds':>8}{'online':>12}{'offline':>12}")
for model in ("gpt2", "gpt2-sm-scfuffn-folded"):
    total = mpcinfer.cost(model, tokens=128, part="stack").total
    online = total.online_bytes_to_server + total.online_bytes_to_client
    offline = total.offline_bytes_to_server + total.offline_bytes_to_client
    print(f"{model:28}{total.rounds:8,}{online / 1e6:9,.0f} MB{offline / 1e6:9,.0f} MB")

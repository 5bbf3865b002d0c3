"""A private answer: the server never sees the prompt, the client never sees the weights.

    python examples/private_answer.py

Server and dealer start as processes of this machine, with keys of their own.
"""

import mpcinfer

with mpcinfer.private("tiny-python") as client:
    answer = client.complete("for i in", max_new_tokens=8)
    bill = client.finish()

print("for i in" + answer.text)
print(f"{bill.total.rounds} rounds, {bill.total.online_bytes_to_server:,} bytes to the server")

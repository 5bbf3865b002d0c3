#!/bin/sh
# A private answer between machines, tried on one: three parties, three keys, three folders.
#
#   sh examples/two_machines.sh
#
# On machines of your own, run each part where it says, and put that machine's name for 127.0.0.1.
# Only .public files ever travel. The dealer belongs to somebody who is neither of the others.
set -eu

python=${PYTHON:-python}
dealer_for_server=tcp://127.0.0.1:${PORT_1:-7101}
dealer_for_client=tcp://127.0.0.1:${PORT_2:-7102}
server=tcp://127.0.0.1:${PORT_0:-7100}

folder=$(mktemp -d)
trap 'kill $started 2>/dev/null || true; rm -rf "$folder"' EXIT
started=
cd "$folder"

# Everybody makes a key where it stays, and gives away the public half.
for role in server client dealer; do "$python" -m mpcinfer keys new "$role" --dir "$role"; done
cp client/client.public dealer/dealer.public server/
cp server/server.public dealer/dealer.public client/
cp server/server.public client/client.public dealer/

# At the dealer. (--once: end after one session.)
"$python" -m mpcinfer dealer --once --key dealer/dealer.secret \
    --server-key dealer/server.public --listen-server "$dealer_for_server" \
    --client-key dealer/client.public --listen-client "$dealer_for_client" &
started="$started $!"

# At the server, which has the weights.
"$python" -m mpcinfer serve --once --model tiny-python --listen "$server" \
    --key server/server.secret --client-key server/client.public \
    --dealer "$dealer_for_server" --dealer-key server/dealer.public &
started="$started $!"

# At the client, which has the prompt.
"$python" -m mpcinfer generate "for i in" --tokens 8 --model tiny-python --key client/client.secret \
    --server "$server" --server-key client/server.public \
    --dealer "$dealer_for_client" --dealer-key client/dealer.public

#!/bin/sh
# Sells two bottles through the loopback API, with curl. Give the folder that holds settings.toml, and a product's id.
#
#   ./pos.sh /var/lib/edge-agent 00000006-0000-4000-8000-000000000000
set -eu
home=$1 product=$2 port=${3:-8780}
api=http://127.0.0.1:$port/v1
umask 077
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT

# The token goes through a file, not through arguments: every user of this machine can list those.
ask() {
    printf 'header = "Authorization: Bearer %s"\n' "$(cat "$home/local-api.token")" |
        curl --silent --show-error --max-time 15 --config - --write-out '%{http_code}' --output "$answer" "$@"
}

# The sale's own id, made once: whatever happens, the sale is sent with this one.
if [ -r /proc/sys/kernel/random/uuid ]; then id=$(cat /proc/sys/kernel/random/uuid); else id=$(uuidgen | tr A-Z a-z); fi

price=$(ask "$api/products/$product" >/dev/null && sed -n 's/.*"price":"\([0-9.]*\)".*/\1/p' "$answer")
[ -n "$price" ] || { echo "no price for $product: $(cat "$answer")" >&2; exit 1; }

sale="{\"external_id\": \"$id\", \"items\": [{\"product\": \"$product\", \"quantity\": \"2\", \"unit_price\": \"$price\"}]}"
for pause in 0 1 2 4; do
    sleep "$pause"
    status=$(ask --header 'Content-Type: application/json' --data "$sale" "$api/sales") || status=000
    case $status in
    200 | 201) # recorded; 200: an earlier try had recorded it
        echo "sold: $(cat "$answer")"
        exit 0 ;;
    000 | 408 | 429 | 5??) continue ;; # in doubt: the same sale again
    *) echo "refused: $(cat "$answer")" >&2
        exit 1 ;;
    esac
done
echo "not recorded yet; keep the sale $id and send it again" >&2
exit 2

#!/bin/sh
# Publishing to Fanfare with curl. Run it: it publishes four ways and prints the answers.
set -eu

api="${FANFARE_URL:-http://127.0.0.1:4000}"
api="${api%/}/api/sse"
token=${FANFARE_TOKEN:+header = \"authorization: Bearer $FANFARE_TOKEN\"}
deadline=${FANFARE_DEADLINE:-30} # seconds in which another attempt may begin
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT

# post PATH CONTENT-TYPE [KEY]: sends what it reads. curl tries again after 1, 2, 4, 8 seconds and so on, or when the hub
# says, if there was no answer or one that may pass, until the deadline. The hub knows a repetition by its key, and publishes
# once. No answer or a 5xx leaves open whether it was published: to run it again later, give the same key both times.
# Without one each call has a key of its own.
# The token comes by a file descriptor: every user of a machine can see its command lines.
post() {
  status=$(
    curl --config /dev/fd/3 --silent --show-error --max-time 10 --retry 10 --retry-max-time "$deadline" --retry-all-errors \
      --header "content-type: $2" --header "idempotency-key: ${3:-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')}" \
      --data-binary @- --output "$answer" --write-out '%{http_code}' "$api$1" 3<<END
$token
END
  ) || { echo "publish.sh: no answer from $api" >&2; exit 1; }
  case $status in
    2??) cat "$answer" ;;
    *) echo "publish.sh: the hub answered $status: $(cat "$answer")" >&2; exit 1 ;;
  esac
}

# To everybody
echo '{"event":"announcement","data":{"message":"New feature released!"}}' | post /publish application/json

# To a user
echo '{"event":"notification","data":{"title":"Welcome!"},"to":{"userId":"user123"}}' | post /publish application/json

# With a helper
echo '{"operationId":"upload_789","userId":"user123","progress":75,"message":"Processing..."}' |
  post /notify/operation-progress application/json

# Many events in one request, all of them or none: one JSON object on each line
for number in 1 2 3; do
  echo "{\"event\":\"row\",\"data\":{\"number\":$number},\"to\":{\"topic\":\"import\"}}"
done | post /publish application/x-ndjson

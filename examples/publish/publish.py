#!/usr/bin/env python3
"""Publishing to Fanfare with Python's standard library. Run it: it publishes four ways and prints the answers."""

import http.client
import itertools
import json
import os
import random
import sys
import time
import urllib.error
import urllib.request
import uuid

API = (os.environ.get("FANFARE_URL") or "http://127.0.0.1:4000").rstrip("/") + "/api/sse"
TOKEN = os.environ.get("FANFARE_TOKEN")
DEADLINE = float(os.environ.get("FANFARE_DEADLINE") or 30)  # seconds in which another attempt may begin
TIMEOUT = 10  # seconds for one attempt
LONGEST_WAIT = 5  # seconds between two
MAY_PASS = (408, 425, 429, 500, 502, 503, 504)


def post(path, body, content_type="application/json", key=None):
    """Sends a request, and again if that may help, for up to DEADLINE.

    The hub knows a repetition by its key, and publishes once. A RuntimeError after no answer or a 5xx leaves open whether
    it was published: to call again later, give the same `key` both times. Without one each call has a key of its own.
    """
    headers = {"content-type": content_type, "idempotency-key": key or str(uuid.uuid4())}
    if TOKEN:
        headers["authorization"] = f"Bearer {TOKEN}"
    end = time.monotonic() + DEADLINE
    for attempt in itertools.count(1):
        request = urllib.request.Request(API + path, body.encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            failure = f"the hub answered {error.code}: {detail(error)}"
            may_pass = error.code in MAY_PASS
        except (OSError, http.client.HTTPException) as error:  # no answer, or half of one
            failure = f"no answer from {API}: {error}"
            may_pass = True
        wait = random.uniform(0.1, min(0.25 * 2**attempt, LONGEST_WAIT))
        if not may_pass or time.monotonic() + wait > end:
            raise RuntimeError(failure)
        time.sleep(wait)


def detail(error):
    """What is wrong, in the hub's words; a proxy before it may have others."""
    text = error.read().decode(errors="replace")
    try:
        return json.loads(text)["detail"]
    except (ValueError, KeyError, TypeError):
        return text[:200]


def publish(event, data, to=None, key=None):
    """One event: to everybody, or to whom `to` says."""
    message = {"event": event, "data": data}
    if to is not None:
        message["to"] = to
    return post("/publish", json.dumps(message), key=key)


def publish_all(events, key=None):
    """Many events in one request, all of them or none: one JSON object on each line."""
    return post("/publish", "".join(json.dumps(event) + "\n" for event in events), "application/x-ndjson", key)


def notify(helper, key=None, **parameters):
    """One of the helpers, such as `operation-progress` or `data-change`."""
    return post(f"/notify/{helper}", json.dumps(parameters), key=key)


if __name__ == "__main__":
    try:
        print(publish("announcement", {"message": "New feature released!"}))
        print(publish("notification", {"title": "Welcome!"}, to={"userId": "user123"}))
        print(notify("operation-progress", operationId="upload_789", userId="user123", progress=75, message="Processing..."))
        print(publish_all({"event": "row", "data": {"number": n}, "to": {"topic": "import"}} for n in range(1, 4)))
    except RuntimeError as error:
        sys.exit(f"publish.py: {error}")

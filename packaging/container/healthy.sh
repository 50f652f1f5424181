#!/bin/sh
# Is this container healthy? Yes while the daemon runs and its store can be used. What only a person can mend (status:
# 3), a line that is down (4) or a refused sign-in (5) is no reason to restart a till: a restart mends none of them.
status=$(edge-agent status --json 2>/dev/null)
code=$?
case $code in
    0 | 3 | 4 | 5) ;;
    *) echo "edge-agent status ended with $code" && exit 1 ;;
esac
case $status in
    *'"daemon_running":true'* | *'"daemon_running": true'*) exit 0 ;;
    *) echo "nothing syncs this home" && exit 1 ;;
esac

#!/usr/bin/env bash
# Runs a command with a Docker daemon of its own, and stops the daemon after it:
#   utils/with_docker.sh COMMAND [ARGUMENT ...]
# The daemon has its own socket, data and state in a temporary folder, no bridge and no firewall rules: nothing of
# the machine's own Docker is touched. The command finds it by DOCKER_HOST. Needs root, dockerd and containerd
# (Debian: docker.io); where that is not to be had it says so, and runs the command with the daemon there may be.
set -euo pipefail

[ $# -gt 0 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 64; }
why=
[ "$(id -u)" = 0 ] || why="this user is not root"
command -v dockerd > /dev/null || why="dockerd is not installed (Debian: apt-get install docker.io)"
if [ -n "$why" ]; then
  echo "no private Docker daemon: $why; using ${DOCKER_HOST:-the one at the usual socket}, if any" >&2
  exec "$@"
fi

mine=${DOCKER_HOST:-}
folder=$(mktemp -d "${TMPDIR:-/tmp}/azrl-docker.XXXXXX")
export DOCKER_HOST=unix://$folder/docker.sock
daemon=
finish() {
  code=$?
  if [ -n "$daemon" ]; then
    kill "$daemon" 2> /dev/null || true
    wait "$daemon" 2> /dev/null || true
    # What a daemon that is stopped while it starts leaves behind:
    kill "$(cat "$folder/exec/containerd/containerd.pid" 2> /dev/null)" 2> /dev/null || true
    umount "$folder/data" 2> /dev/null || true
  fi
  rm -rf --one-file-system "$folder" 2> /dev/null || echo "could not remove $folder" >&2
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

dockerd --data-root "$folder/data" --exec-root "$folder/exec" --pidfile "$folder/pid" --host "$DOCKER_HOST" \
  --bridge=none --iptables=false --ip6tables=false > "$folder/log" 2>&1 < /dev/null &
daemon=$!
for _ in $(seq 300); do
  grep -q "API listen on" "$folder/log" && break
  kill -0 "$daemon" 2> /dev/null || break
  sleep 0.1
done
if ! grep -q "API listen on" "$folder/log"; then
  tail -n 5 "$folder/log" >&2
  echo "no private Docker daemon: dockerd does not start here; using ${mine:-the one at the usual socket}, if any" >&2
  if [ -n "$mine" ]; then export DOCKER_HOST=$mine; else unset DOCKER_HOST; fi
fi

"$@"

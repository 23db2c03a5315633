#!/usr/bin/env bash
# A real Slurm on this machine, for tests: munge, slurmctld, slurmd n1, n2 and n3, slurmdbd and its database.
#
#   testbed.sh check           exit 0 when it can run here; otherwise one line with the reason, exit 1
#   testbed.sh up              install what is missing (apt), start what is not running, wait until jobs can start
#   testbed.sh env             what a shell has to export (TESTBED_DIR, SLURM_CONF): eval "$(slurm/testbed/testbed.sh env)"
#   testbed.sh status          the daemons, the nodes, the queue
#   testbed.sh node-stop n2    stop slurmd alone (TERM); its jobs run on, Slurm calls the node down after 20 s
#   testbed.sh node-kill n2    the node dies: slurmd and every process of its jobs are killed at once
#   testbed.sh node-start n2   start slurmd again and wait until the node is idle or busy
#   testbed.sh down            cancel all jobs, end the daemons, remove the state directory
#
# Everything lies in TESTBED_DIR (default: artifacts/.testbed): configuration, keys, database, logs, pid files. Ports
# are chosen free, so several can stand side by side with a TESTBED_DIR each. Nothing else of the machine is touched
# but by apt. A process is ended by its id, and only when /proc says that it is the daemon of this very directory.
# The nodes have 2 CPUs each; n3 is a spare, taken last. Partition low (the default, all nodes) is preempted by partition
# high (n1 and n2): its jobs get their --signal, 5 s of grace, and are requeued.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
TESTBED_DIR="$(realpath -m "${TESTBED_DIR:-$here/../../artifacts/.testbed}")"
D="$TESTBED_DIR"
export SLURM_CONF="$D/slurm.conf"
PATH="$PATH:/usr/sbin:/sbin"
declare -A package=([munged]=munge [slurmctld]=slurmctld [slurmd]=slurmd [slurmdbd]=slurmdbd [sbatch]=slurm-client
  [mariadbd]=mariadb-server-core [mariadb]=mariadb-client-core)

say() { echo "testbed: $*" >&2; }
fail() { say "$*"; exit 1; }

# can it run here? prints the reason when not
check() {
  local program missing=()
  for program in "${!package[@]}"; do command -v "$program" > /dev/null || missing+=("${package[$program]}"); done
  if [ "$(uname -s)" != Linux ]; then
    echo "needs Linux"
  elif [ "$(id -u)" != 0 ]; then
    echo "needs root: slurmd starts jobs as their users"
  elif [ ${#missing[@]} -gt 0 ] && ! command -v apt-get > /dev/null; then
    echo "${missing[*]} missing and no apt-get to install them with (Debian is what this was written for)"
  elif [ ${#D} -gt 80 ]; then
    echo "TESTBED_DIR=$D is too long for the name of a socket (80 letters at most)"
  else
    return 0
  fi
  return 1
}

# the Debian packages that are missing; no service is started by their installation
install_missing() {
  local program missing=() policy=/usr/sbin/policy-rc.d
  for program in "${!package[@]}"; do command -v "$program" > /dev/null || missing+=("${package[$program]}"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "installing ${missing[*]}"
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy"; chmod +x "$policy"
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get -o DPkg::Lock::Timeout=300 -qq update || say "apt-get update failed; trying with the lists as they are"
  apt-get -o DPkg::Lock::Timeout=300 -qq install -y --no-install-recommends "${missing[@]}" > "$D/apt.log" 2>&1 < /dev/null ||
    { tail -n 20 "$D/apt.log" >&2; fail "apt-get could not install ${missing[*]}"; }
}

# daemon_pid NAME [COMM]: the process id from NAME.pid, when /proc says that it is COMM and belongs to this directory
daemon_pid() {
  local name="$1" comm="${2:-$1}" pid
  pid="$(cat "$D/$name.pid" 2>/dev/null)" && [ -n "$pid" ] || return 1
  [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$comm" ] || return 1
  { tr '\0' '\n' < "/proc/$pid/cmdline"; tr '\0' '\n' < "/proc/$pid/environ"; } 2>/dev/null |
    grep -F "$D/" > /dev/null || return 1  # no -q: it would leave the pipe early, and that fails
  echo "$pid"
}

# stop_daemon NAME [COMM]: TERM, and KILL after 10 s
stop_daemon() {
  local pid turn
  pid="$(daemon_pid "$@")" || return 0
  kill -TERM "$pid" 2>/dev/null || true
  for turn in {1..100}; do daemon_pid "$@" > /dev/null || return 0; sleep 0.1; done
  kill -KILL "$pid" 2>/dev/null || true
}

# wait_for SECONDS WHAT COMMAND...: until COMMAND succeeds
wait_for() {
  local end=$((SECONDS + $1)) what="$2"; shift 2
  until "$@" > /dev/null 2>&1; do
    [ $SECONDS -lt $end ] || fail "$what did not come up; the logs are in $D"
    sleep 0.2
  done
}

free_port() { ! (exec 3<> "/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# once per directory: six free ports, the configuration files, a key, a database
configure() {
  local base sum port name host
  [ ! -e "$D/configured" ] || return 0
  host="$(hostname -s)"
  sum="$(printf %s "$D" | cksum)"
  for ((base = 10000 + ${sum%% *} % 2000 * 10; ; base += 10)); do
    [ $base -lt 32000 ] || base=10000
    for port in $base $((base + 1)) $((base + 2)) $((base + 3)) $((base + 4)) $((base + 5)); do
      free_port "$port" || continue 2
    done
    break
  done
  for name in slurm slurmdbd; do
    sed -e "s|@DIR@|$D|g; s|@HOST@|$host|g; s|@FIRST_JOB@|$(($(date +%s) / 10 % 60000000 + 1))|
      s|@CTLD_PORT@|$base|; s|@DBD_PORT@|$((base + 1))|; s|@SQL_PORT@|$((base + 2))|
      s|@N1_PORT@|$((base + 3))|; s|@N2_PORT@|$((base + 4))|; s|@N3_PORT@|$((base + 5))|" "$here/$name.conf.in" > "$D/$name.conf"
    chmod 600 "$D/$name.conf"
  done
  chmod 644 "$D/slurm.conf"
  # from 23.11 on Slurm wants to be told that there are no cgroups
  if printf '%s\n' 23.11 "$(sinfo --version | awk '{print $2}')" | sort -CV; then
    echo "CgroupPlugin=disabled" > "$D/cgroup.conf"
  fi
  mkdir -p "$D/state" "$D/spool-n1" "$D/spool-n2" "$D/spool-n3"
  (umask 077; head -c 128 /dev/urandom > "$D/munge.key")
  mariadb-install-db --no-defaults --user=root --datadir="$D/database" --skip-test-db \
    --auth-root-authentication-method=socket > "$D/mariadb-install.log" 2>&1
  echo "$base" > "$D/configured"
}

database() { mariadb --no-defaults --user=root --socket="$D/mariadb.socket" "$@"; }

start_daemons() {
  local base node; base="$(cat "$D/configured")"
  if ! daemon_pid munged > /dev/null; then
    # --force: it would rather see its directory outside of anyone's home
    munged --force --key-file="$D/munge.key" --socket="$D/munge.socket" --pid-file="$D/munged.pid" \
      --log-file="$D/munged.log" --seed-file="$D/munge.seed" 2> "$D/munged.err"
  fi
  if ! daemon_pid mariadbd > /dev/null; then
    setsid mariadbd --no-defaults --user=root --datadir="$D/database" --socket="$D/mariadb.socket" \
      --pid-file="$D/mariadbd.pid" --port=$((base + 2)) --bind-address=127.0.0.1 --innodb-flush-log-at-trx-commit=0 \
      --innodb-buffer-pool-size=32M > "$D/mariadbd.log" 2>&1 < /dev/null &
    wait_for 180 "the database" database -e 'select 1'
    database -e "create database if not exists slurm_acct;
      create user if not exists slurm@'127.0.0.1' identified by 'slurm';
      create user if not exists slurm@localhost identified by 'slurm';
      grant all on slurm_acct.* to slurm@'127.0.0.1'; grant all on slurm_acct.* to slurm@localhost"
  fi
  if ! daemon_pid slurmdbd > /dev/null; then
    SLURM_CONF="$D/slurmdbd.conf" slurmdbd
    wait_for 180 slurmdbd sacctmgr -n show cluster
    sacctmgr -iQ add cluster testbed > /dev/null || true
  fi
  daemon_pid slurmctld > /dev/null || slurmctld -f "$SLURM_CONF"
  for node in n1 n2 n3; do start_node "$node"; done
}

start_node() {
  daemon_pid "slurmd-$1" slurmd > /dev/null || slurmd -f "$SLURM_CONF" -N "$1" < /dev/null
}

node_up() {
  local state; state="$(sinfo -h -N -n "$1" -o %T | head -n 1)"
  case "$state" in idle | mixed | allocated | completing) ;; *) false ;; esac
}

known_node() { case "${1:-}" in n1 | n2 | n3) ;; *) fail "'${1:-}' is no node; there are n1, n2 and n3" ;; esac; }

# job_processes [NODE]: ids of the processes of this testbed's jobs (on NODE), each slurmstepd first
job_processes() {
  local folder pid parent tasks=() steps=()
  for folder in /proc/[0-9]*; do
    pid="${folder#/proc/}"
    if { tr '\0' '\n' < "$folder/environ"; } 2>/dev/null | awk -v conf="SLURM_CONF=$SLURM_CONF" -v node="${1:-}" '
      $0 == conf { ours++ } $0 == "SLURM_CLUSTER_NAME=testbed" { ours++ }
      /^SLURMD_NODENAME=/ && (node == "" || $0 == "SLURMD_NODENAME=" node) { ours++ } END { exit ours != 3 }'; then
      tasks+=("$pid")
      parent="$(awk '$1 == "PPid:" { print $2 }' "$folder/status" 2>/dev/null)" || continue
      if [ "$(cat "/proc/$parent/comm" 2>/dev/null)" = slurmstepd ]; then steps+=("$parent"); fi
    fi
  done
  printf '%s\n' "${steps[@]}" "${tasks[@]}" | awk 'NF && !seen[$0]++'
}

# kill_node NODE: like pulling the plug
kill_node() {
  local pids; pids="$(daemon_pid "slurmd-$1" slurmd || true) $(job_processes "$1")"
  # shellcheck disable=SC2086 # words on purpose
  kill -KILL $pids 2>/dev/null || true
}

up() {
  local reason node
  reason="$(check)" || fail "cannot run here: $reason"
  # `down` removes the whole directory: it must be one that `up` made
  if [ -d "$D" ] && [ ! -e "$D/.lock" ] && [ -n "$(ls -A "$D")" ]; then
    fail "TESTBED_DIR=$D is there and not empty; name a new directory"
  fi
  mkdir -p "$D"
  exec 9> "$D/.lock"; flock 9
  install_missing
  configure
  start_daemons 9>&-
  wait_for 180 slurmctld scontrol ping
  for node in n1 n2 n3; do wait_for 180 "node $node" node_up "$node"; done
  say "up: $(sinfo --version), three nodes of 2 CPUs; for the shell: eval \"\$($0 env)\""
}

down() {
  local turn name
  [ -e "$D/configured" ] || { say "nothing is up in $D"; return 0; }
  if daemon_pid slurmctld > /dev/null; then
    timeout 10 scancel --full --user="$(id -un)" 2>/dev/null || true
    for turn in {1..50}; do [ -n "$(timeout 5 squeue -h 2>/dev/null)" ] || break; sleep 0.2; done
  fi
  for name in n1 n2 n3; do stop_daemon "slurmd-$name" slurmd; done
  # shellcheck disable=SC2046 # words on purpose
  kill -KILL $(job_processes) 2>/dev/null || true
  for name in slurmctld slurmdbd mariadbd munged; do stop_daemon "$name"; done
  rm -rf --one-file-system "$D"
  say "down"
}

status() {
  local name pid
  for name in munged mariadbd slurmdbd slurmctld slurmd-n1 slurmd-n2 slurmd-n3; do
    pid="$(daemon_pid "$name" "${name%-n?}")" && echo "$name  process $pid" || echo "$name  not running"
  done
  timeout 10 sinfo -N -o '%N %P %T %C' && timeout 10 squeue
}

case "${1:-}" in
  check) check ;;
  up) up ;;
  down) down ;;
  status) status ;;
  env) printf 'export TESTBED_DIR=%q SLURM_CONF=%q\n' "$D" "$SLURM_CONF" ;;
  node-stop) known_node "${2:-}"; stop_daemon "slurmd-$2" slurmd ;;
  node-kill) known_node "${2:-}"; kill_node "$2" ;;
  node-start) known_node "${2:-}"; start_node "$2"; wait_for 180 "node $2" node_up "$2" ;;
  *) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 2 ;;
esac

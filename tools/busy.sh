#!/bin/bash
# busy.sh MODEL [ROUNDS]: what decoding loses when other programs use the machine.
#
# It measures on a machine that is quiet otherwise, and then beside one endless
# loop a processor at the same priority, in turn; and prints the medians, their
# ratio, and the 99th percentile of a token beside the quiet median. The loops
# belong to the session of this script, so that the scheduler's autogroups treat
# them and the bench as one.
set -eu
model=${1:?"usage: tools/busy.sh MODEL [ROUNDS]"}
rounds=${2:-5}
procs=$(nproc)
threads=${THREADS:-$procs}
bin=${BIN:-bin/shardnode}

hogs=()
start_hogs() { for _ in $(seq "$procs"); do (while :; do :; done) & hogs+=($!); done; }
stop_hogs() {
	if [ ${#hogs[@]} -gt 0 ]; then
		kill "${hogs[@]}"
		wait "${hogs[@]}" 2>/dev/null || true
	fi
	hogs=()
}
trap stop_hogs EXIT

# measure prints the tokens a second, and p50 and p99 of a token in ms.
measure() {
	"$bin" bench "$model" -p 0 -n 150 -r 2 --threads "$threads" --json 2>/dev/null |
		sed -E 's/.*"tok_s":\{"median":([0-9.]+).*"p50_ms":([0-9.]+).*"p99_ms":([0-9.]+).*/\1 \2 \3/'
}
median() { sort -n | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }

quiet='' busy=''
for i in $(seq "$rounds"); do
	q=$(measure)
	start_hogs
	b=$(measure)
	stop_hogs
	echo "round $i: quiet $q, busy $b (tok/s, p50 ms, p99 ms)" >&2
	quiet+="$q"$'\n' busy+="$b"$'\n'
done
column() { awk -v c="$2" 'NF { print $c }' <<<"$1" | median; }
awk -v q="$(column "$quiet" 1)" -v b="$(column "$busy" 1)" -v p50="$(column "$quiet" 2)" \
	-v p99q="$(column "$quiet" 3)" -v p99="$(column "$busy" 3)" -v t="$threads" -v n="$procs" 'BEGIN {
	printf "%d threads, %d processors: quiet %.1f tok/s, p99 %.2f x p50\n", t, n, q, p99q / p50
	printf "beside a loop on each processor: %.1f tok/s, %.2f x quiet (asked 0.40); p99 of a token %.1f ms, %.2f x the quiet p50, %.2f x the quiet p99 (asked 4)\n", b, b / q, p99, p99 / p50, p99 / p99q
}'

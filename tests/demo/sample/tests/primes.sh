#!/bin/sh
# Checks the list that the job `build` made.
set -eu
test "$(wc -l <out/primes.txt)" -eq 25
test "$(tail -n 1 out/primes.txt)" -eq 97
echo "25 primes below 100"

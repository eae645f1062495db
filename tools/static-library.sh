#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# static-library.sh OUTPUT WORKDIR ARCHIVE... MAP - one relocatable object from the archives, in
# which only the names of the version script MAP stay visible, as an archive.
set -eu
output=$1 work=$2
shift 2
archives=
while [ $# -gt 1 ]; do
    archives="$archives $1"
    shift
done
map=$1
mkdir -p "$work"
rm -f "$output"
sed -n 's/^    \(sallyport_[a-z0-9_]*\);$/\1/p' "$map" > "$work/names"
# shellcheck disable=SC2086 # a list of build paths without spaces
ld -r -o "$work/sallyport.o" --whole-archive $archives
objcopy --keep-global-symbols="$work/names" "$work/sallyport.o"
ar rcsD "$output" "$work/sallyport.o"

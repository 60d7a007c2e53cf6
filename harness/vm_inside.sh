#!/bin/sh
# In the guest, as root: runs a command in /vagrant and keeps for the host what it will want to know.
#
#     vm_inside.sh CMD [ARG…]      the exit code is CMD's
#     vm_inside.sh --end           ends the command that runs, and all that it started
#
# What CMD leaves in /run/stages/results goes to the host; after a failure the kernel's own words are added.
place=/run/stages

if [ "$1" = --end ]; then
    read -r group 2>/dev/null <"$place/group" || exit 0
    kill -INT -- "-$group" 2>/dev/null || exit 0
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        sleep 1
        kill -0 -- "-$group" 2>/dev/null || exit 0
    done
    kill -KILL -- "-$group"
    exit
fi

rm -rf "$place"
mkdir -p "$place/results"
read -r _ _ _ _ group _ <"/proc/$$/stat" # proc(5); sshd(8) makes one for each command
echo "$group" >"$place/group"
trap : INT # is for CMD; this goes on and tells how it ended

# As long as this comes the guest is alive, whatever has become of its network.
while echo 'stages: alive' >/dev/console; do sleep 2; done 2>/dev/null &
beat=$!

cd /vagrant || exit 125
"$@"
code=$?
kill "$beat"
if [ "$code" != 0 ]; then
    dmesg >"$place/results/dmesg"
    cat /proc/self/mountinfo >"$place/results/mountinfo"
fi
rm -f "$place/group"
exit "$code"

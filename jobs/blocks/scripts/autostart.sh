# Whether the server starts by itself, at boot and after its end. Nothing is started or stopped here.
# $1 on | off  $2 Debian's start.conf ("" = none)  $3 systemd unit ("" = none)  $4 yes: enable and disable the unit
set -eu
word=$1 start=$2 unit=$3 enables=$4
dropin=/run/systemd/system/$unit.service.d
if [ -n "$start" ]; then
    [ "$word" = on ] && now=auto || now=manual
    sed -i "s/^[[:space:]]*\(auto\|manual\|disabled\)\([[:space:]].*\)\{0,1\}\$/$now/" "$start"
fi
if [ -n "$unit" ]; then
    if [ "$word" = on ]; then
        rm -f "$dropin/pgpanel.conf"
    else
        mkdir -p "$dropin"
        printf '[Service]\nRestart=no\n' >"$dropin/pgpanel.conf" # /run: gone with the next boot by itself
    fi
    systemctl daemon-reload
    if [ "$enables" = yes ]; then
        if [ "$word" = on ]; then systemctl enable "$unit"; else systemctl disable "$unit"; fi
    fi
fi

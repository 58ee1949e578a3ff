# One read-only look at a host, for any POSIX sh (dash, busybox, old bash). What it prints is read by remote/parse.py.
#
# Arguments: data directory, port, bin directory, owner, sections (",host,postgres," or ","), number of paths, the paths, then places to
# try from here: "address port", or behind tabs: address, port, role, password file (who answers there, by the replication protocol).
# Each line: a key, then fields behind tabs: ":text" as it is, or "+base64" where the text holds a tab, a line break or the like.
# It changes nothing: no file is written, SQL runs in a read-only transaction, and every call that could hang has a limit.
LC_ALL=C
export LC_ALL
unset CDPATH PGHOST PGPORT PGUSER PGDATABASE PGSERVICE PGPASSWORD PGAPPNAME
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
set -f
umask 077
TAB=$(printf '\tx')
TAB=${TAB%x}
NL='
'
CR=$(printf '\rx')
CR=${CR%x}
RS=$(printf '\036')
US=$(printf '\037')

wanted_data=$1 wanted_port=$2 wanted_bin=$3 owner=${4:-postgres} sections=$5 path_count=$6
shift 6
me=$(id -un)
unreadable=

has() { command -v "$1" >/dev/null; }
wants() { case $sections in ,|*,"$1",*) return 0 ;; esac; return 1; }

if base64 -w0 </dev/null 2>/dev/null; then encoded() { base64 -w0; }
elif has base64; then encoded() { base64 | tr -d '\n'; }
else encoded() { od -An -v -tx1 | tr -d ' \n' | sed 's/^/0x/'; }; fi
if has timeout; then
    psql_limit='timeout 6'
    within() { timeout "$@"; }
else
    psql_limit=
    within() { shift; "$@"; }
fi

fields() { # fields → $line
    line=
    for each; do
        case $each in
        *["$NL$TAB$CR"]*) line=$line$TAB+$(printf %s "$each" | encoded) ;;
        *) line=$line$TAB:$each ;;
        esac
    done
}

row() { # key, fields
    row_key=$1
    shift
    fields "$@"
    printf '%s%s\n' "$row_key" "$line"
}

# passwords of conninfos, and those to LDAP and RADIUS in pg_hba.conf, never leave the host: the plain forms are masked, of an
# unusual one the rest of its line
masked() {
    sed -e '/[Pp][Aa][Ss][Ss][Ww][Oo][Rr][Dd][[:space:]]*=/{
s/\([Pp][Aa][Ss][Ss][Ww][Oo][Rr][Dd][[:space:]]*=[[:space:]]*\)[^[:space:]'"'"'\\"]\{1,\}\([[:space:]'"'"'"]\)/\1********\2/g
s/\([Pp][Aa][Ss][Ss][Ww][Oo][Rr][Dd][[:space:]]*=[[:space:]]*\)'"''"'[^'"'"'\\]*'"''"'\([[:space:]'"'"']\)/\1********\2/g
s/\([Pp][Aa][Ss][Ss][Ww][Oo][Rr][Dd][[:space:]]*=[[:space:]]*\)[^[:space:]*].*$/\1********'"'"'/
}' -e 's/"\(ldapbindpasswd\|radiussecrets\)=[^"]*"/"\1=********"/g' \
        -e 's/\(ldapbindpasswd\|radiussecrets\)="[^"]*"/\1=********/g' \
        -e 's/\(ldapbindpasswd\|radiussecrets\)=[^[:space:]"*][^[:space:]"]*/\1=********/g' \
        -e 's#\(://[^:@/[:space:]]*:\)[^@[:space:]]*@#\1********@#g'
}

# the text of a file, at most 64 KiB of it
text() { # key, path, fields
    key=$1 file=$2
    shift 2
    [ -f "$file" ] && [ -r "$file" ] || return 1
    case $unreadable in *"$NL$file$NL"*) return 1 ;; esac
    fields "$file" "$@"
    printf '%s%s\t+%s\n' "$key" "$line" "$(head -c 65536 <"$file" | masked | encoded)"
}

# programs run as who owns them or their cluster, never as root just because root looks
as_owner() { # account, command
    account=$1
    shift
    if [ "$account" = "$me" ] || [ "$account" = root ]; then "$@"
    elif [ "$me" != root ]; then sudo -n -u "$account" -- "$@"
    elif has runuser; then runuser -u "$account" -- "$@"
    else
        words=
        for each; do words="$words '$(printf %s "$each" | sed "s/'/'\\\\''/g")'"; done
        su -s /bin/sh "$account" -c "cd /; $words"
    fi
}

globbed() { # patterns → $found, one existing path a line; no name of the host's is ever split or executed
    set +f
    found=
    # shellcheck disable=SC2048
    IFS=$NL
    for each in $*; do
        [ -e "$each" ] && found=$found$each$NL
    done
    unset IFS
    set -f
}

count_files() { # directory, pattern → $count
    set +f
    set -- "$1"/$2
    set -f
    count=$#
    [ -e "$1" ] || [ -L "$1" ] || count=0
}

# --- the host ----------------------------------------------------------------------------------------------------

first_line() { value= && IFS= read -r value <"$1"; }

look_host() {
    first_line /proc/sys/kernel/hostname || value=$(uname -n)
    row hostname "$value"
    first_line /etc/machine-id
    row machine_id "$value"
    first_line /proc/sys/kernel/random/boot_id
    row boot_id "$value"
    row seen_from "${SSH_CONNECTION%% *}"
    while IFS= read -r line; do
        case $line in ID=* | VERSION_ID=* | PRETTY_NAME=*) row os "$line" ;; esac
    done </etc/os-release
    [ -r /etc/os-release ] || { first_line /etc/redhat-release && row os "ID=rhel" && row os "PRETTY_NAME=$value"; }
    row uname "$(uname -r)" "$(uname -m)"
    row cpus "$(nproc || getconf _NPROCESSORS_ONLN)"
    read -r word value rest </proc/meminfo && row memory_kb "$value"
    row addresses "$(hostname -I || ip -o addr show | sed -n 's/.* inet6\{0,1\} \([^/ ]*\).*/\1/p' | tr '\n' ' ')"
    row libc "$(getconf GNU_LIBC_VERSION)"
    globbed "/usr/lib/*/libicui18n.so.??" "/usr/lib64/libicui18n.so.??" "/usr/lib/libicui18n.so.??"
    row icu "$found"
    if [ -e /sys/fs/selinux/enforce ]; then first_line /sys/fs/selinux/enforce && row selinux "$value"; fi
    look_systemd
    look_accounts
    look_mounts
    tools=
    for tool in rsync flock setsid setpriv runuser tar zstd lz4 gzip ssh ssh-keygen sudo restorecon nft iptables python3 perl bash nc timeout base64 \
        sha256sum sync systemctl pg_ctlcluster pg_createcluster psql; do
        IFS=:
        for directory in $PATH; do
            if [ -x "$directory/$tool" ]; then
                tools=$tools$tool=$directory/$tool$NL
                break
            fi
        done
        unset IFS
    done
    row tools "$tools"
}

look_systemd() {
    [ -d /run/systemd/system ] || return
    row systemd yes
    globbed /etc/systemd/logind.conf "/usr/lib/systemd/logind.conf.d/*.conf" "/etc/systemd/logind.conf.d/*.conf"
    while IFS= read -r file; do
        while IFS= read -r line; do
            case $line in RemoveIPC=*) row remove_ipc "${line#*=}" ;; esac
        done <"$file"
    done <<FOUND
$found
FOUND
}

look_accounts() {
    while IFS= read -r line; do
        case ${line%%:*} in "$owner" | postgres | "$me" | root) row passwd "$line" ;; esac
    done </etc/passwd
    [ -r /etc/shadow ] && while IFS=: read -r name hash rest; do
        case $name in "$owner" | postgres | "$me" | root)
            case $hash in '!'* | '*LK*'*) row locked "$name" yes ;; *) row locked "$name" no ;; esac ;;
        esac
    done </etc/shadow
}

look_mounts() {
    mounts=$(within 2 df -P -k -T || within 2 df -P -k)
    row mounts "$mounts"
}

look_installations() {
    globbed "/usr/lib/postgresql/*/bin" "/usr/pgsql-*/bin" "/opt/cocca-8/postgresql/bin" "/opt/postgresql*/bin" "/opt/*/postgresql/bin" \
        "/usr/local/pgsql*/bin" "/usr/local/bin" "/usr/bin"
    installations=
    while IFS= read -r directory; do
        case $NL$installations in *"$NL$directory$NL"*) continue ;; esac
        [ -x "$directory/postgres" ] && [ ! -d "$directory/postgres" ] || continue
        present=
        for tool in initdb pg_ctl psql pg_controldata pg_basebackup pg_rewind pg_verifybackup pg_archivecleanup pg_isready pg_waldump pg_xlogdump \
            pg_receivewal pg_receivexlog pg_checksums pg_verify_checksums pg_combinebackup pg_dump; do
            [ -x "$directory/$tool" ] && present="$present $tool"
        done
        installations=$installations$directory$NL
        version=$(as_owner "$(stat -L -c %U "$directory/postgres")" "$directory/postgres" --version)
        library=${directory%/bin}/lib
        [ -d "$library/postgresql" ] && library=$library/postgresql
        look_libraries "$library"
        row installation "$directory" "$version" "$library" "$present" "$libraries" "$packages"
        bin_list="$bin_list${version##*) } $directory$NL"
    done <<FOUND
$wanted_bin
$found
FOUND
}

# what servers can load from there → $libraries, and which package has brought what (no dpkg: nobody knows) → $packages
look_libraries() {
    libraries= packages=
    wants libraries || return
    globbed "$1/*.so"
    while IFS= read -r file; do
        file=${file##*/}
        case $file in *[!A-Za-z0-9_.+-]* | '') ;; *) libraries="$libraries ${file%.so}" ;; esac
    done <<FOUND
$found
FOUND
    globbed "/var/lib/dpkg/info/*postgres*.list" "/var/lib/dpkg/info/*pg*.list"
    IFS=$NL
    packages=$(grep -H "^$1/[^/]*\.so\$" $found)
    unset IFS
}

# --- PostgreSQL --------------------------------------------------------------------------------------------------

# every process named postgres, from /proc without a fork for each; a postmaster is one whose parent is none of them
look_processes() {
    processes=' '
    set +f
    for each in /proc/[0-9]*; do
        { read -r name <"$each/comm"; } 2>/dev/null || continue
        case $name in postgres | postmaster | .postgres*) ;; *) continue ;; esac
        { read -r line <"$each/stat"; } 2>/dev/null || continue
        line=${line##*) }
        line=${line#* }
        processes="$processes${each#/proc/}:${line%% *} "
    done
    set -f
    postmasters=
    for each in $processes; do
        case $processes in *" ${each#*:}:"*) continue ;; esac
        postmasters="$postmasters ${each%%:*}"
    done
}

physical() { physical=$(cd -P -- "$1" && pwd -P) || physical=$1; }

remember() { # data directory: into $directories, each once
    [ -n "$1" ] || return
    physical "$1"
    case $NL$seen in *"$NL$physical$NL"*) return ;; esac
    seen=$seen$physical$NL
    directories=$directories$1$NL
}

quoted_setting() { # file, name → its last value, quotes taken off
    sed -n "s/^[[:space:]]*$2[[:space:]]*=\{0,1\}[[:space:]]*'\(.*\)'[^']*\$/\1/p
s/^[[:space:]]*$2[[:space:]]*=\{0,1\}[[:space:]]*\([^'[:space:]#][^[:space:]#]*\).*/\1/p" <"$1" | sed -n "s/''/'/g;\$p"
}

look_clusters() {
    look_processes
    seen= directories= debian= running= strays=
    remember "$wanted_data"
    for pid in $postmasters; do
        directory=$(readlink "/proc/$pid/cwd") || continue
        [ -f "$directory/PG_VERSION" ] || continue
        program=$(readlink "/proc/$pid/exe")
        first_line "$directory/postmaster.pid"
        if [ "$value" = "$pid" ]; then running="$running$directory$TAB$pid$TAB${program%/*}$NL"
        else strays="$strays$directory$TAB$pid$NL"; fi
        remember "$directory"
    done
    globbed "/etc/postgresql/*/*/postgresql.conf"
    while IFS= read -r file; do
        [ -n "$file" ] || continue
        directory=$(quoted_setting "$file" data_directory)
        name=${file#/etc/postgresql/}
        physical "${directory:-/nowhere}"
        debian=$debian$physical$TAB${name%/postgresql.conf}$NL
        remember "$directory"
    done <<FOUND
$found
FOUND
    globbed "/var/lib/pgsql/*/data" /var/lib/pgsql/data /opt/cocca-8/postgresql/data "/opt/*/postgresql/data" /usr/local/pgsql/data
    while IFS= read -r directory; do remember "$directory"; done <<FOUND
$found
FOUND
    while IFS= read -r directory; do
        [ -n "$directory" ] && look_cluster "$directory"
    done <<FOUND
$directories
FOUND
}

line_of() { # list of "path TAB rest" lines, path → $value = rest
    value=
    case $NL$1 in
    *"$NL$2$TAB"*)
        value=${1#"$2$TAB"}
        [ "$value" = "$1" ] && value=${1#*"$NL$2$TAB"}
        value=${value%%"$NL"*}
        ;;
    esac
    [ -n "$value" ]
}

look_cluster() { # data directory
    data=$1
    [ -d "$data" ] || return
    if [ ! -x "$data" ]; then row denied "$data"; return; fi
    first_line "$data/PG_VERSION" || return
    major=$value
    physical "$data"
    cluster_owner=$(stat -c %U "$data")
    line_of "$debian" "$physical"
    debian_name=$value
    row cluster "$data" "$major" "$cluster_owner" "$debian_name"
    [ "$physical" = "$data" ] || row real_path "$physical"
    bin=
    if line_of "$running" "$physical"; then
        bin=${value#*"$TAB"}
        row postmaster "${value%%"$TAB"*}" "$bin"
    fi
    while IFS= read -r line; do
        case $line in "$physical$TAB"*) row stray "${line#*"$TAB"}" ;; esac
    done <<FOUND
$strays
FOUND
    look_binaries
    look_files
    [ -n "$bin" ] && [ -r "$data/global/pg_control" ] && row control "$(as_owner "$cluster_owner" "$bin/pg_controldata" "$data" 2>&1)"
    look_tablespaces
    look_sizes
    config= hba=
    if wants sql && line_of "$running" "$physical"; then look_sql; fi
    look_config
}

look_binaries() {
    [ -n "$bin" ] && return
    if [ -n "$wanted_bin" ] && [ "$data" = "$wanted_data" ]; then bin=$wanted_bin; fi
    while IFS= read -r line; do
        [ -z "$bin" ] || break
        case $line in "$major "* | "$major."* | "$major"[a-z]*) bin=${line#* } ;; esac
        case $bin in ' '* | '') bin= ;; esac
    done <<FOUND
$bin_list
FOUND
    row binaries "$bin"
}

# what root may read but the owner of the cluster may not (a link of his to somebody else's file) is not shown as the cluster's
heed_owner() { # files
    [ "$me" = root ] && [ "$cluster_owner" != root ] || return
    unreadable=$NL$(as_owner "$cluster_owner" sh -c 'for each; do [ -r "$each" ] || printf "%s\n" "$each"; done' sh "$@")$NL
}

look_files() {
    heed_owner "$data/postmaster.pid" "$data/postgresql.auto.conf" "$data/recovery.conf" "$data/pgpanel.job"
    wal=$data/pg_wal
    [ -d "$wal" ] || wal=$data/pg_xlog
    text pidfile "$data/postmaster.pid"
    text auto_conf "$data/postgresql.auto.conf"
    text recovery_conf "$data/recovery.conf"
    for name in standby.signal recovery.signal recovery.conf recovery.done backup_label backup_label.old tablespace_map postgresql.auto.conf pgpanel.job; do
        [ -e "$data/$name" ] && row present "$name"
    done
    text job_marker "$data/pgpanel.job"
    count_files "$wal/archive_status" '*.ready'
    row archive_ready "$count"
    newest_wal
}

# the name of the last WAL segment by timeline and number
newest_wal() {
    set +f
    for each in "$wal"/????????????????????????; do :; done
    set -f
    [ -f "$each" ] && row newest_wal "${each##*/}"
}

look_tablespaces() {
    globbed "$data/pg_tblspc/[0-9]*"
    while IFS= read -r link; do
        [ -n "$link" ] && row tablespace "${link##*/}" "$(readlink "$link")" "$(wants sizes && kilobytes "$link/")"
    done <<FOUND
$found
FOUND
}

kilobytes() {
    sum=$(within 3 du -skx "$1")
    printf %s "${sum%%"$TAB"*}"
}

look_sizes() {
    wants sizes || return
    row size_kb "$(kilobytes "$data")" "$(kilobytes "$wal/")"
    [ -L "$wal" ] && row wal_link "$(readlink "$wal")"
}

look_sql() {
    value= port= socket= number=0
    while IFS= read -r line; do
        number=$((number + 1))
        case $number in 4) port=$line ;; 5) socket=$line ;; esac
    done <"$data/postmaster.pid"
    [ -n "$port" ] || port=$wanted_port
    [ "$port" = 0 ] && port=
    [ -n "$port" ] || port=$(quoted_setting "$data/postgresql.conf" port)
    # a server without a socket has an empty line there; 9.0 has no such line
    [ -n "$socket" ] || if [ "$number" -ge 5 ]; then socket=localhost; else socket=/tmp; fi
    ask "$(sql_of "$major")" postgres
    printf 'sql\t+%s\n' "$(printf '%s\n' "$rows" | encoded)"
    case $rows in
    *"${RS}files$US"*)
        config=${rows#*"${RS}files$US"}
        config=${config%%"$RS"*}
        hba=${config#*"$US"}
        config=${config%%"$US"*}
        hba=${hba%%"$US"*}
        wants libraries && look_databases
        ;;
    esac
    row socket "${port:-5432}" "$socket"
}

# psql's errors follow its rows: a pipe of their own holds them back until it has ended
ask() { # SQL, database → $rows
    rows=$( { printf '%s\n' "$1" | as_owner "$cluster_owner" env PGCONNECT_TIMEOUT=3 PGAPPNAME=pgpanel \
        PGOPTIONS='-c default_transaction_read_only=on -c statement_timeout=4000' $psql_limit \
        "$bin/psql" -X -q -A -t -w -F "$US" -h "$socket" -p "${port:-5432}" -U "$cluster_owner" -d "$2" -f - 2>&1 1>&3 3>&- |
        { errors=$(head -c 4096); [ -z "$errors" ] || printf '%serror%s%s\n' "$RS" "$US" "$errors"; } >&3; } 3>&1 )
}

# functions and extensions live in each database: one more psql goes through them
look_databases() {
    names=$(printf %s "$rows" | sed -n "s/^${RS}database$US\([^$US]*\)$US.*/\1/p" | head -n 30)
    sql=
    while IFS= read -r name; do
        case $name in
        '' | postgres | template1) ;;
        *[!A-Za-z0-9_.-]*) row unseen_database "$name" ;; # \connect might take it for a connection string
        *) sql="$sql\\connect $name$NL$(database_sql_of "$major")$NL" ;;
        esac
    done <<FOUND
$names
FOUND
    [ -n "$sql" ] || return
    ask "$sql" postgres
    printf 'sql\t+%s\n' "$(printf '%s\n' "$rows" | encoded)"
}

included_files() { # of $config, one a line; what those include in turn is not followed
    while IFS= read -r line; do
        case $line in '') continue ;; /*) ;; *) line=${config%/*}/$line ;; esac
        if [ -d "$line" ]; then
            globbed "$line/*.conf"
            printf %s "$found"
        else
            printf '%s\n' "$line"
        fi
    done <<FOUND
$(sed -n "s/^[[:space:]]*include\(_dir\|_if_exists\)\{0,1\}[[:space:]]*=\{0,1\}[[:space:]]*'\([^']*\)'.*/\2/p" <"$config")
FOUND
}

look_config() {
    if [ -z "$config" ]; then
        config=$data/postgresql.conf
        [ -n "$debian_name" ] && config=/etc/postgresql/$debian_name/postgresql.conf
        hba=$(quoted_setting "$config" hba_file)
        [ -n "$hba" ] || hba=${config%/*}/pg_hba.conf
    fi
    included=$(included_files)
    IFS=$NL
    heed_owner "$config" "$hba" $included
    unset IFS
    text config_file "$config" || row config_file "$config"
    text hba_file "$hba" || row hba_file "$hba"
    while IFS= read -r file; do [ -n "$file" ] && text included_file "$file"; done <<FOUND
$included
FOUND
    if [ -n "$debian_name" ]; then
        log=/var/log/postgresql/postgresql-$(printf %s "$debian_name" | tr / -).log
        row log_file "$log"
        start=$(sed -n '/^[a-z]/{p;q;}' <"/etc/postgresql/$debian_name/start.conf")
        row at_boot "$start"
        return
    fi
    case $data in
    /var/lib/pgsql/*) [ -d /run/systemd/system ] && row at_boot "$(systemctl is-enabled "postgresql-$major")" ;;
    esac
    if [ -f "$data/current_logfiles" ]; then
        read -r word log <"$data/current_logfiles"
        case $log in /*) ;; *) log=$data/$log ;; esac
        row log_file "$log"
    fi
}

#SQL#

# --- paths and reach ---------------------------------------------------------------------------------------------

look_paths() { # paths, and what else there is: each question is asked once for all of them, a program per file would be most of the look
    number=0
    for path; do
        shift
        number=$((number + 1))
        [ "$number" -le "$path_count" ] || continue
        if [ -e "$path" ] || [ -L "$path" ]; then set -- "$@" "$path"; else absent; fi
    done
    [ $# -gt 0 ] || return
    form='%F:%U:%G:%a:%s'
    answers=$(stat -c $form "$@") || answers=$(for path; do stat -c $form "$path" || echo; done)
    for path; do
        shift
        described=${answers%%"$NL"*} answers=${answers#*"$NL"}
        describe
        [ -f "$path" ] && [ -r "$path" ] && [ "${described##*:}" -le 65536 ] && set -- "$@" "$path"
    done
    [ $# -gt 0 ] || return
    answers=$(sha256sum "$@") || answers=$(for path; do sha256sum "$path" || echo; done)
    for path; do
        digest=${answers%%"$NL"*} answers=${answers#*"$NL"}
        digest=${digest#\\} # what it puts before a name that it had to escape
        row digest "$path" "${digest%% *}"
    done
    keyed=$NL$(within 2 grep -l 'PRIVATE KEY' "$@")$NL
    for path; do
        shift
        case ${path##*/} in
        *pgpass* | *.key | *_key | id_*[!b]) continue ;; # may hold a secret: its digest tells whether it is what we want
        esac
        case $keyed in *"$NL$path$NL"*) ;; *) set -- "$@" "$path" ;; esac
    done
    fields "$@"
    printf 'path_texts\t:%s%s\t+%s\n' "$began" "$line" "$(texts "$@" | masked | encoded)"
}

absent() { # $path
    parent=${path%/*}
    while [ -n "$parent" ] && [ ! -e "$parent" ]; do parent=${parent%/*}; done
    if [ -d "${parent:-/}" ] && [ ! -x "${parent:-/}" ]; then row path "$path" denied; else row path "$path" missing; fi
}

describe() { # $path, $described
    count=0 target=
    [ -L "$path" ] && target=$(readlink "$path")
    if [ -d "$path" ]; then
        count_files "$path" '*' && entries=$count
        count_files "$path" '.[!.]*' && entries=$((entries + count))
        count=$entries
        [ -r "$path" ] && [ -x "$path" ] || count=-1
    fi
    row path "$path" "$described" "$count" "$target"
}

# one after the other, between lines that no file can foresee
texts() {
    for path; do
        printf '\n\036%s\037\n' "$began"
        head -c 65536 <"$path"
    done
    printf '\n\036%s\037\n' "$began"
}

look_reach() { # address, port
    if has bash; then answer=$(within 2 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2" 2>&1)
    elif has python3; then answer=$(within 3 python3 -c 'import socket, sys; socket.create_connection(sys.argv[1:3], 2)' "$1" "$2" 2>&1)
    elif has perl; then answer=$(within 3 perl -MIO::Socket::INET -e 'IO::Socket::INET->new(PeerAddr => $ARGV[0], PeerPort => $ARGV[1], Timeout => 2) or die $@' "$1" "$2" 2>&1)
    elif has nc; then answer=$(within 3 nc -w 2 "$1" "$2" 2>&1)
    else answer='no bash, python3, perl or nc to try with'; false; fi
    result=$?
    row reach "$1" "$2" "$result" "$answer"
}

look_identify() { # address, port, role, password file: a live question, since a WAL receiver may believe in a dead primary for a minute
    role=$3 limit='timeout 4'
    [ "$role" != - ] || role=$(as_owner "$owner" sed -n 's/^[^:]*:[^:]*:[^:]*:\([^:]*\):.*/\1/p' "$4" | head -n 1) # whose password it holds
    has timeout || limit=
    program=$wanted_bin/psql
    [ -x "$program" ] || program=psql
    # shellcheck disable=SC2086
    answer=$(as_owner "$owner" $limit env PGHOST="$1" PGPORT="$2" PGUSER="${role:-pgpanel_replication}" PGPASSFILE="$4" PGCONNECT_TIMEOUT=3 PGAPPNAME=pgpanel \
        "$program" -X -A -t -w -d replication=true -c IDENTIFY_SYSTEM 2>&1)
    result=$?
    row identified "$1" "$2" "$result" "$answer"
}

look_place() {
    case $1 in
    *"$TAB"*)
        IFS=$TAB
        # shellcheck disable=SC2086
        set -- $1
        unset IFS
        look_identify "$@"
        ;;
    *) look_reach "${1% *}" "${1##* }" ;;
    esac
}

# --- all of it ---------------------------------------------------------------------------------------------------

# the script itself comes by stdin, so nothing that it runs may read there
look() {
    began=$(date +%s.%N)
    row begin 1 "$me" "$began"
    wants paths && look_paths "$@"
    shift "$path_count"
    if wants reach; then
        for each; do look_place "$each" & done
    fi
    bin_list=
    if wants host; then look_host; fi
    if wants host || wants postgres || wants sql; then look_installations; fi
    if wants postgres || wants sql; then look_clusters; fi
    wait
    row end "$(date +%s.%N)"
}

look "$@" </dev/null 2>/dev/null

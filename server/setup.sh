#!/usr/bin/env bash
# Prepare this checkout: PostgreSQL with PL/Python from the distribution, and .venv made with the
# very Python that PL/Python is linked to, so that both load the same compiled libraries.
#
# Called by every make target; when nothing has changed it returns at once.
#   RESCORE_NO_INSTALL=1   never call the package manager, only name what is missing
#   RESCORE_PG_ROOT=DIR    where the PostgreSQL versions are (default /usr/lib/postgresql)
set -euo pipefail
shopt -s inherit_errexit

oldest_postgres=14
pg_root=${RESCORE_PG_ROOT:-/usr/lib/postgresql}
checkout=$(cd -P -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
stamp=$checkout/.venv/setup.stamp

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

# The newest version directory under $pg_root holding the file $1, "15" for one; nothing if none.
newest_with() {
    local found=''
    for file in "$pg_root"/*/"$1"; do
        local version=${file#"$pg_root"/}
        version=${version%%/*}
        [[ -e $file && $version =~ ^[0-9]+$ ]] || continue
        (( version >= oldest_postgres && version > ${found:-0} )) && found=$version
    done
    printf '%s' "$found"
}

# "3.11": the version of the libpython that a plpython3.so is linked to.
linked_python() {
    ldd "$1" | sed -n 's/.*libpython\(3\.[0-9]*\)\.so.*/\1/p' | head -n 1
}

has_venv() { [[ -x /usr/bin/python$1 ]] && "/usr/bin/python$1" -Ic 'import ensurepip, venv' 2>/dev/null; }

# The distribution's own PostgreSQL version and Python version, from the package lists, or from
# the release when the lists were never fetched and cannot be.
distribution_postgres() {
    local version
    version=$(apt-cache depends postgresql 2>/dev/null | sed -n 's/.*Depends: postgresql-\([0-9]*\)$/\1/p' | head -n 1) || true
    [[ -n $version ]] && { printf '%s' "$version"; return; }
    case $(. /etc/os-release && printf '%s' "${ID:-}${VERSION_ID:-}") in
        debian12) printf 15 ;; debian13) printf 17 ;;
        ubuntu22.04) printf 14 ;; ubuntu24.04) printf 16 ;; ubuntu2[56].*) printf 17 ;;
        *) die "unknown distribution: install PostgreSQL >= $oldest_postgres with plpython3, and python3-venv" ;;
    esac
}

distribution_python() {
    local version
    version=$(apt-cache depends "postgresql-plpython3-$1" 2>/dev/null | sed -n 's/.*Depends: libpython\(3\.[0-9]*\).*/\1/p' | head -n 1) || true
    printf '%s' "${version:-3}"
}

# Packages still missing, one line; the argument is the PostgreSQL version with plpython3, if any.
missing_packages() {
    local postgres=$1 python
    if [[ -n $postgres ]]; then
        python=$(linked_python "$pg_root/$postgres/lib/plpython3.so")
    else
        postgres=$(newest_with bin/initdb)
        postgres=${postgres:-$(distribution_postgres)}
        python=$(distribution_python "$postgres")
        printf 'postgresql-%s postgresql-plpython3-%s ' "$postgres" "$postgres"
    fi
    has_venv "$python" || printf 'python%s-venv' "$python"
}

# How to become root: nothing for root itself, sudo when it works or can ask; fails otherwise.
become_root() {
    (( EUID == 0 )) && return
    command -v sudo >/dev/null || return 1
    if sudo -n true 2>/dev/null; then printf 'sudo -n'
    elif [[ -t 0 && -t 2 && -z ${CI:-} ]]; then printf 'sudo'
    else return 1
    fi
}

# Runs as root: the packages without a system cluster, which nobody asked for. A file in
# createcluster.d does it, and is gone again afterwards; existing clusters are never touched.
# shellcheck disable=SC2016  # expanded by the inner shell
install_as_root='
set -eu
export DEBIAN_FRONTEND=noninteractive
conf=/etc/postgresql-common/createcluster.d/rescore-setup.conf
trap "rm -f $conf" EXIT
mkdir -p "${conf%/*}"
echo "create_main_cluster = false" > "$conf"
apt-get update -q
apt-get install -q -y --no-install-recommends "$@"
'

install_packages() {
    local root
    if [[ -n ${RESCORE_NO_INSTALL:-} ]] || ! command -v apt-get >/dev/null || ! root=$(become_root); then
        die "these packages are missing, and installing them needs root: $*
setup: run   sudo apt-get update && sudo apt-get install $*   and then make again"
    fi
    say "installing $*"
    # shellcheck disable=SC2086  # "sudo -n" is two words
    $root sh -c "$install_as_root" setup "$@" >&2
}

# Sets $postgres and $python (the version), installing what is missing.
find_or_install() {
    local missing
    postgres=$(newest_with lib/plpython3.so)
    missing=$(missing_packages "$postgres")
    if [[ -n $missing ]]; then
        # shellcheck disable=SC2086  # a list of words
        install_packages $missing
        postgres=$(newest_with lib/plpython3.so)
    fi
    [[ -n $postgres ]] || die "no plpython3.so under $pg_root: is postgresql-plpython3 installed?"
    python=$(linked_python "$pg_root/$postgres/lib/plpython3.so")
    [[ -n $python ]] || die "$pg_root/$postgres/lib/plpython3.so is not linked to a libpython3"
    has_venv "$python" || install_packages "python$python-venv"
    (( ${python#3.} >= 10 )) || die "PostgreSQL $postgres has PL/Python $python; rescore needs 3.10"
}

# Extensions, and a pooler, that some tests use: installed where the distribution has them and nobody need be asked.
# shellcheck disable=SC2016  # expanded by the inner shell
install_each_as_root='
export DEBIAN_FRONTEND=noninteractive
# Installed, not started: nobody asked for a pooler of the system.
policy=/usr/sbin/policy-rc.d
[ -e "$policy" ] || { trap "rm -f $policy" EXIT; printf "#!/bin/sh\nexit 101\n" > "$policy"; chmod +x "$policy"; }
apt-get update -q
left=""
for package in "$@"; do
    apt-get install -q -y --no-install-recommends "$package" || left="$left $package"
done
[ -z "$left" ]
'

install_extensions() {
    local root='' wanted=()
    [[ -e $pg_root/$postgres/lib/pg_cron.so ]] || wanted+=("postgresql-$postgres-cron")
    [[ -e $pg_root/$postgres/lib/hll.so ]] || wanted+=("postgresql-$postgres-hll")
    [[ -e /usr/sbin/pgbouncer ]] || wanted+=(pgbouncer)
    (( ${#wanted[@]} )) && [[ -z ${RESCORE_NO_INSTALL:-} ]] && command -v apt-get >/dev/null || return 0
    (( EUID == 0 )) || { sudo -n true 2>/dev/null && root='sudo -n'; } || return 0
    say "installing ${wanted[*]} if there are such packages"
    # shellcheck disable=SC2086  # "sudo -n" is two words
    $root sh -c "$install_each_as_root" setup "${wanted[@]}" >/dev/null 2>&1 || say 'not all of them were found'
}

# What the environment depends on: change any of it and set-up runs again.
fingerprint() {
    printf '%s\n' "$checkout" "$postgres" "$("/usr/bin/python$python" -IV)"
    (cd "$checkout" && sha256sum pyproject.toml server/setup.sh)
}

make_environment() {
    local interpreter=/usr/bin/python$python venv=$checkout/.venv
    if [[ $(readlink -f "$venv/bin/python") != "$(readlink -f "$interpreter")" ]] ||
        { [[ -e $stamp ]] && [[ $(head -n 1 "$stamp") != "$checkout" ]]; }; then
        say "making .venv with $interpreter, the Python of PostgreSQL $postgres"
        [[ ! -L $venv ]] || rm "$venv"   # what a link points to is another checkout's
        "$interpreter" -m venv --clear "$venv"
    fi
    say 'installing the Python packages; the first time takes some minutes'
    (cd "$checkout" && "$venv/bin/python" -m pip install -qq --disable-pip-version-check -e '.[dev]')
    # A folder in which the checkout is called "rescore", whatever its own name: for mypy, and
    # for the server's Python, which knows nothing of editable installs.
    mkdir -p "$venv/src"
    ln -sfn ../.. "$venv/src/rescore"
}

exec 9<"$checkout/server/setup.sh"
flock 9   # two makes at once: the second waits, then finds the work done
find_or_install
if [[ ! -e $stamp || $(<"$stamp") != "$(fingerprint)" ]]; then
    install_extensions
    make_environment
    fingerprint > "$stamp"
    say 'done'
fi

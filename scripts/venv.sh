# Sourced by the other scripts: makes .venv with the package and the extras named, unless it is there already.
# usage: ensure_venv NAME [EXTRAS]     NAME is the stamp that says what is installed
ensure_venv() {
    local stamp=".venv/.installed-$1" extras="${2:-}" wanted python
    wanted=$(cat setup.cfg pyproject.toml | cksum)
    [ -x .venv/bin/alertflight ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return 0
    if [ ! -x .venv/bin/pip ]; then
        for python in python3 python3.14 python3.13 python3.12 python3.11 none; do
            command -v "$python" >/dev/null 2>&1 &&
                "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' && break
        done
        if [ "$python" = none ]; then
            echo "Python 3.11 or newer is needed and was not found: install it, then start again" >&2
            return 1
        fi
        echo "making .venv (once) ..." >&2
        if ! "$python" -m venv .venv >&2; then
            rm -rf .venv
            echo "$python cannot make virtual environments: install its venv module (Debian: apt install python3-venv)" >&2
            return 1
        fi
    fi
    echo "installing the package (once) ..." >&2
    install_here --editable ".$extras" >&2 || return 1
    echo "$wanted" >"$stamp"
}

# Installs into .venv with uv, which takes seconds where pip takes minutes; with pip where pip has an index of its own, which
# uv would not ask, and where uv cannot be had.
install_here() {
    local pip=(.venv/bin/pip --quiet --disable-pip-version-check)
    if ! .venv/bin/pip config list | grep -q index-url && "${pip[@]}" install 'uv >=0.8,<1' 2>/dev/null; then
        .venv/bin/uv --quiet pip install --python .venv/bin/python "$@" && return 0
    fi
    "${pip[@]}" install "$@"
}

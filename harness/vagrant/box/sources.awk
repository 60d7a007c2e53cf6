# awk -v release=bookworm -f sources.awk FILE...: of apt's sources, prints those of this release of Debian, as they stand.
# A file NAME.list has one a line, NAME.sources a stanza each. Third parties' archives have no part in a box. sources.list(5)

# A Debian archive has the release by its code name, and the section `main`.
function is_ours(suites, components) {
    return (" " suites " ") ~ (" " release "(-updates|-security)? ") && (" " components " ") ~ / main /
}

# The value of a stanza's field, with the lines that go on.
function field(name,    i, value, within) {
    for (i = 1; i <= count; i++) {
        if (lines[i] ~ /^#/) continue
        if (lines[i] !~ /^[ \t]/) within = tolower(lines[i]) ~ ("^" name ":")
        if (within) value = value " " lines[i]
    }
    sub(/^[^:]*:/, "", value)
    gsub(/[ \t]+/, " ", value)
    return value
}

function end_stanza(    i) {
    if (count && field("types") ~ / deb( |$)/ && tolower(field("enabled")) !~ /no|false|off|0/ && \
        is_ours(field("suites"), field("components"))) {
        for (i = 1; i <= count; i++) print lines[i]
        print ""
    }
    count = 0
}

FNR == 1 { end_stanza() }

FILENAME ~ /\.sources$/ {
    if ($0 ~ /^[ \t]*$/) end_stanza()
    else lines[++count] = $0
    next
}

/^deb[ \t]/ {
    words = $0
    sub(/#.*/, "", words)
    sub(/^deb[ \t]+(\[[^]]*\][ \t]+)?[^ \t]+[ \t]+/, "", words) # what is left: suite, components
    gsub(/[ \t]+/, " ", words)
    suite = words
    sub(/ .*/, "", suite)
    if (is_ours(suite, substr(words, length(suite) + 1) " ")) print
}

END { end_stanza() }

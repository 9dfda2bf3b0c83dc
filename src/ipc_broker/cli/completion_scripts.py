"""What makes bash, zsh and fish ask `rob __complete`: all words but the command, the last of which is being typed.

It prints a candidate a line, perhaps with a tab and a description; the exit status 1 stands for names of files.
"""

from __future__ import annotations

# bash takes words apart at = and others; they are put together again as they stand in the line, and of what is found
# only the part is given to bash that it wants. compopt is missing in bash 3, where a space too many is all that comes of it.
_BASH = r"""_rob() {
    local rest=${COMP_LINE#*"$1"} words=("") last=0 word line found place
    for ((place = 1; place <= COMP_CWORD; place++)); do
        word=${COMP_WORDS[place]}
        if ((place > 1)) && [[ $rest == [[:space:]]* ]]; then
            last=$((last + 1))
            words[last]=
        fi
        words[last]+=$word
        rest=${rest#*"$word"}
    done
    local current=${words[last]} prefix
    prefix=${current%"${current##*[=:@]}"}
    COMPREPLY=()
    if ! found=$("$1" __complete "${words[@]}" 2>/dev/null); then
        compopt -o filenames 2>/dev/null
        while IFS= read -r line; do
            COMPREPLY+=("$line")
        done < <(compgen -f -- "${current#"$prefix"}")
        return
    fi
    while IFS= read -r line; do
        word=${line%%$'\t'*}
        [[ -n $word ]] && COMPREPLY+=("${word#"$prefix"}")
    done <<<"$found"
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
    return 0
}
complete -F _rob rob
"""

_ZSH = r"""#compdef rob
_rob() {
    local reply line word about
    local -a closed closed_shown open open_shown
    if ! reply=$("${words[1]}" __complete "${(@)words[2,CURRENT-1]}" "$PREFIX" 2>/dev/null); then
        _files
        return
    fi
    for line in "${(@f)reply}"; do
        word=${line%%$'\t'*}
        [[ -n $word ]] || continue
        about=$word
        [[ $line == *$'\t'* ]] && about="$word  -- ${line#*$'\t'}"
        if [[ $word == *= ]]; then
            open+=("$word")
            open_shown+=("$about")
        else
            closed+=("$word")
            closed_shown+=("$about")
        fi
    done
    compadd -Q -l -d closed_shown -a closed
    compadd -Q -l -S '' -d open_shown -a open
}
if [[ ${funcstack[1]} == _rob ]]; then
    _rob "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
    compdef _rob rob
fi
"""

_FISH = r"""function __rob_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l found ($words[1] __complete $words[2..-1] "$current" 2>/dev/null)
    if test $status -ne 0
        __fish_complete_path "$current"
        return
    end
    string join -- \n $found
end
complete -c rob -f -a '(__rob_complete)'
"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}

# bash completion for leakprof and leakshim. The options are those that --help names, so that they are never old ones.

_leakshim_options() {
  "$@" --help 2>/dev/null | grep -oE -- '--[a-zA-Z][a-zA-Z_-]*=?' | sort -u
}

_leakprof() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
  COMPREPLY=()
  if [[ $word == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$(_leakshim_options "$1")" -- "$word")
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
  else
    [[ $word == = || $before == = ]] && word=${word#=}
    mapfile -t COMPREPLY < <(compgen -f -- "$word")
    compopt -o filenames
  fi
}

_leakshim() {
  local word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]}
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    mapfile -t COMPREPLY < <(compgen -W "run status dump set check --help --version" -- "$word")
  elif [[ $word == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$(_leakshim_options "$1" "$command")" -- "$word")
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
  elif [[ $command == run || $command == check ]]; then
    mapfile -t COMPREPLY < <(compgen -c -f -- "$word")
    compopt -o filenames
  else
    # The processes that run under the library.
    mapfile -t COMPREPLY < <(compgen -W "$("$1" status 2>/dev/null | awk 'NR > 1 && $1 ~ /^[0-9]+$/ { print $1 }')" -- "$word")
  fi
}

complete -F _leakprof leakprof
complete -F _leakshim leakshim

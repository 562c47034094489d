# What shtab does not know: values of -o, and what a SOURCE can be.

# $1=what is typed of a SOURCE; the clouds are those of the first clouds.yaml that there is
_swiftimgfs_sources() {
  local file
  case "$1" in
    glance:*) compgen -f -P glance: -- "${1#glance:}" ;;
    @*) compgen -f -P @ -- "${1#@}" ;;
    *)
      compgen -W "env: glance: swift+https:// @" -- "$1"
      for file in "$OS_CLIENT_CONFIG_FILE" clouds.y{,a}ml ~/.config/openstack/clouds.y{,a}ml \
        /etc/openstack/clouds.y{,a}ml; do
        [[ -f $file && -r $file ]] || continue
        compgen -W "$(awk '
          /^[^ #]/ { is_in = /^clouds:/; next }
          is_in && match($0, /^ +["'\'']?[A-Za-z0-9_.-]+["'\'']?:/) {
            match($0, /^ +/)
            if (!indent) indent = RLENGTH
            if (RLENGTH == indent) { gsub(/^ +|:.*|["'\'']/, ""); print }
          }' "$file")" -- "$1"
        break
      done
      ;;
  esac
}

# $1=what is typed after -o: options with commas between, of which the last is completed
_swiftimgfs_options() {
  local piece="${1##*,}"
  local before="${1%"$piece"}" name="${piece%%=*}" values=""
  if [[ $piece != *=* ]]; then
    compgen -P "$before" -W "@NAMES@" -- "$piece"
    return
  fi
  case "$name" in
@VALUES@
    @DIRECTORIES@) compgen -P "$before$name=" -d -- "${piece#*=}" ;;
    @FILES@) compgen -P "$before$name=" -f -- "${piece#*=}" ;;
  esac
  [[ -z $values ]] || compgen -P "$before$name=" -W "$values" -- "${piece#*=}"
}

# bash takes = and : for the ends of words, and we do not.
_swiftimgfs() {
  local line="${COMP_LINE:0:COMP_POINT}" words word
  read -r -a words <<<"$line"
  [[ $line != *[[:space:]] ]] || words+=("")
  word="${words[${#words[@]} - 1]}"
  if [[ $line == *[\\\'\"]* ]]; then
    _shtab_swiftimgfs
    return
  fi
  local COMP_WORDS=("${words[@]}") COMP_CWORD=$((${#words[@]} - 1))
  if [[ ${words[COMP_CWORD - 1]} == -o ]]; then
    COMPREPLY=()
    while IFS= read -r line; do COMPREPLY+=("$line"); done < <(_swiftimgfs_options "$word")
  else
    _shtab_swiftimgfs
  fi
  # Of the word, only what is behind the last of them is put in.
  local done="${word%"${word##*[=:]}"}" i
  for i in "${!COMPREPLY[@]}"; do COMPREPLY[i]="${COMPREPLY[i]#"$done"}"; done
  [[ -z $done || ${#COMPREPLY[@]} != 1 || ! -d ${COMPREPLY[0]} ]] || COMPREPLY[0]+=/
  if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[=:/@] ]]; then
    compopt -o nospace 2>/dev/null || :
  fi
}


#!/usr/bin/env bash
# Counts the idioms of docs/style.md and prints a Markdown table, one column for each commit given (default: HEAD).
#
#     docs/idioms.sh 00bb89e HEAD
#
# Comment markers and line breaks are removed first, so that an idiom that is split over two lines is counted too.
# Patterns that start with `line:` describe whole lines.
set -euo pipefail
cd "$(git -C "$(dirname "$0")" rev-parse --show-toplevel)"

files=('*.rs' '*.md' '*.toml' '*.py' '*.sh' ':!docs/style.md' ':!docs/idioms.sh' ':!xtask/tests/citations.rs')
idioms=(
  'behind|\bbehind\b'
  'in front of|\bin front of\b'
  'has to say, says of itself|\b(has|have|had) to say\b|\bsays? of (itself|themselves)\b'
  'hears, heard|\b(hears?|heard)\b'
  'whoever|\bwhoever\b'
  'cannot be had|\b(cannot|can|could not|could) be had\b'
  'price of|\bprice of\b'
  'in bytes|\bin bytes\b'
  'bit by bit|\bbit by bit\b'
  'is told|\b(is|are|was|were|be) told\b'
  'in vain|\bin vain\b'
  'the house|\bthe house\b'
  'oracle|\boracle'
  'it is the way of|\bit is the way of\b'
  'is none|\b(is|are|was|were) none\b'
  'hangs on|\bhangs? on\b'
  'had better|\bhad better\b'
  'written down, worked out|\b(written down|worked out)\b'
  'at hand|\bat hand\b'
  'in earnest, to the letter|\b(in earnest|to the letter)\b'
  'Between the two.|line:^\s*///? Between the two\.$'
  'The file.|line:^\s*///? The file\.$'
  'The WORD.|line:^\s*///? The \w+\.$'
  'What ... (first word of a doc comment)|line:^\s*//[/!] What '
  'reference section N|\breference sections? \d'
)

count() { # COMMIT PATTERN
  local text=(git grep -hI '' "$1" -- "${files[@]}")
  if [[ $2 == line:* ]]; then
    "${text[@]}" | { grep -ciP -- "${2#line:}" || true; }
  else
    "${text[@]}" | sed -E 's#^\s*(//[/!]?|\#)\s*##' | tr -s '[:space:]' ' ' | { grep -oiP -- "$2" || true; } | wc -l
  fi
}

commits=("${@:-HEAD}")
printf '| idiom |'; printf ' %s |' "${commits[@]}"; printf '\n|---|'; printf -- '---|%.0s' "${commits[@]}"; echo
for idiom in "${idioms[@]}"; do
  printf '| %s |' "${idiom%%|*}"
  for commit in "${commits[@]}"; do printf ' %s |' "$(count "$commit" "${idiom#*|}")"; done
  echo
done

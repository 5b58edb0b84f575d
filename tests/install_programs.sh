#!/usr/bin/env bash
# install_programs.sh: what the tests use beside Slurm, where it is missing: a Chromium, which opens the report's page, and
# the shells that complete our verbs. Debian's or Ubuntu's packages, once.
set -euo pipefail
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

have() {
  local name
  for name in "$@"; do
    ! command -v "$name" >/dev/null || return 0
  done
  return 1
}

missing=()
for shell in zsh fish; do
  have $shell || missing+=($shell)
done
browsers=(chromium chromium-browser google-chrome)
have "${browsers[@]}" && [ ${#missing[@]} = 0 ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "install_programs.sh: the tests need chromium, zsh and fish: as root, once: apt-get install chromium zsh fish" >&2
  exit 1
fi
apt-get update -qq
install=(apt-get install -y -qq --no-install-recommends)
[ ${#missing[@]} = 0 ] || "${install[@]}" "${missing[@]}" >/dev/null
have "${browsers[@]}" || "${install[@]}" chromium >/dev/null || "${install[@]}" chromium-browser >/dev/null

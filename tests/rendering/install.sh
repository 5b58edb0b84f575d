#!/usr/bin/env bash
# install.sh: a Chromium for the tests of the report's page, where there is none; Debian's or Ubuntu's package, once.
set -euo pipefail
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

for name in chromium chromium-browser google-chrome; do
  command -v $name >/dev/null && exit 0
done
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "install.sh: the tests open the report in Chromium: as root, once: apt-get install chromium" >&2
  exit 1
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends chromium >/dev/null ||
  apt-get install -y -qq --no-install-recommends chromium-browser >/dev/null

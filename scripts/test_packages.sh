#!/bin/sh
# The system packages that the tests drive for real: a sandbox, a browser, a database server.
# What is missing is installed where that needs no question: on Debian and Ubuntu, as root or with a
# sudo that asks for no password. Elsewhere the tests that need it are skipped and say so.
set -eu

# Playwright's own Node needs libatomic.
packages="bubblewrap chromium fonts-dejavu-core libatomic1 postgresql"
os=$(. /etc/os-release 2>/dev/null && echo "$ID ${ID_LIKE-}") || os=
case " $os " in
*" ubuntu "*) packages="bubblewrap postgresql" ;; # its Chromium is a snap
*" debian "*) ;;
*) exit 0 ;;
esac
# A mock server from npm; hundreds of packages where Node is not there yet.
if [ "${CI-}" = true ] && ! command -v npm >/dev/null; then packages="$packages npm"; fi

missing=
for package in $packages; do
  case $(dpkg-query --show --showformat='${db:Status-Abbrev}' "$package" 2>/dev/null) in
  ii*) ;;
  *) missing="$missing $package" ;;
  esac
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
  sudo=
elif sudo -n true 2>/dev/null; then
  sudo="sudo -n"
else
  echo "The tests that need these packages are skipped. To try them too: apt install$missing"
  exit 0
fi
echo "Installing with apt-get, for the tests (make test PACKAGES=no leaves it):$missing"
apt() {
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 "$@" >/dev/null
}
if apt update && apt install --yes --no-install-recommends $missing; then
  exit 0
fi
echo "apt-get could not install them. The tests that need them are skipped." >&2
[ "${CI-}" != true ]

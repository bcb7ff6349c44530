#!/usr/bin/env bash
# Writes Alertmanager's configuration to standard output: e-mail on alerts of severity "error", and with --warnings on "warning" as well.
#
#   deploy/monitoring/alertmanager.sh --to ADDRESS --smtp HOST:PORT [OPTION...] > alertmanager.yml
#
#   --to ADDRESS        who gets the mail; several with commas between them
#   --smtp HOST:PORT    the mail server
#   --from ADDRESS      the sender (default: distild@localhost)
#   --warnings          mail on warnings too
#   --user NAME         log in at the mail server, with the password in --password-file FILE
#   --password-file FILE
#   --no-tls            for a mail server that does not speak TLS
#   --wait DURATION     to gather alerts before the first mail (default: 30s); ten times as long before further mail on the same
set -euo pipefail

usage() {
    sed -n '2,14s/^# \{0,1\}//p' "$0"
}

fail() {
    echo "alertmanager.sh: $1" >&2
    exit 2
}

to='' smtp='' from=distild@localhost warnings=no user='' password_file='' tls=true wait=30s
while [[ $# -gt 0 ]]; do
    case $1 in
    --help) usage && exit 0 ;;
    --warnings) warnings=yes ;;
    --no-tls) tls=false ;;
    --to | --smtp | --from | --user | --password-file | --wait)
        [[ $# -ge 2 ]] || fail "$1 needs a value"
        name=${1#--}
        printf -v "${name//-/_}" %s "$2"
        shift
        ;;
    *) fail "unknown option '$1'; --help lists those there are" ;;
    esac
    shift
done
[[ $to == *@* ]] || fail "--to: an e-mail address is expected, found '$to'"
[[ $smtp =~ ^.+:[0-9]+$ ]] || fail "--smtp: HOST:PORT is expected, found '$smtp'"
[[ $wait =~ ^([0-9]+)(ms|s|m|h)$ ]] || fail "--wait: a duration such as 30s is expected, found '$wait'"
again=$((BASH_REMATCH[1] * 10))${BASH_REMATCH[2]}
for value in "$to" "$smtp" "$from" "$user" "$password_file"; do
    [[ $value != *[\'$'\n']* ]] || fail "quotes and line breaks are not accepted in '$value'"
done
[[ -z $user || -n $password_file ]] || fail "--user needs --password-file"

echo "global:"
echo "  smtp_smarthost: '$smtp'"
echo "  smtp_from: '$from'"
echo "  smtp_require_tls: $tls"
if [[ -n $user ]]; then
    echo "  smtp_auth_username: '$user'"
    echo "  smtp_auth_password_file: '$password_file'"
fi
cat <<END
route:
  receiver: nobody
  group_by: [alertname, instance]
  group_wait: $wait
  group_interval: $again
  repeat_interval: 4h
  routes:
    - matchers: ['severity="error"']
      receiver: mail
END
if [[ $warnings == yes ]]; then
    echo "    - matchers: ['severity=\"warning\"']"
    echo "      receiver: mail"
fi
cat <<END
receivers:
  - name: nobody
  - name: mail
    email_configs:
      - to: '$to'
        send_resolved: true
        headers:
          Subject: '[{{ .Status | toUpper }}] {{ .CommonAnnotations.summary }}'
        html: ''
        text: |
          {{ range .Alerts }}{{ .Labels.alertname }} ({{ .Labels.severity }}) at {{ .Labels.instance }}, since {{ .StartsAt }}
          {{ .Annotations.description }}
          {{ end }}
END

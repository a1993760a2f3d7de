#!/bin/bash
# docker-mailserver runs this at its start, when its own configuration stands. Beside each Postfix
# service it adds one of the same settings at another port that takes a PROXY header first; the usual
# ports keep working for what is in the container (Dovecot's and Sieve's own mail, health checks).

# Port 25 is postscreen's, with a setting of its own. (10025 is Amavis's port in docker-mailserver.)
postconf -Mf smtp/inet | sed -e 's/^smtp/12525/' >> /etc/postfix/master.cf
postconf -P 12525/inet/postscreen_upstream_proxy_protocol=haproxy \
  12525/inet/syslog_name=postfix/smtp-proxied

postconf -Mf submissions/inet | sed -e 's/^submissions/10465/' >> /etc/postfix/master.cf
postconf -P 10465/inet/smtpd_upstream_proxy_protocol=haproxy \
  10465/inet/syslog_name=postfix/submissions-proxied

postconf -Mf submission/inet | sed -e 's/^submission/10587/' >> /etc/postfix/master.cf
postconf -P 10587/inet/smtpd_upstream_proxy_protocol=haproxy \
  10587/inet/syslog_name=postfix/submission-proxied

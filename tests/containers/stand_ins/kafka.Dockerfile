FROM tally-stand-in-base
RUN useradd --uid 1000 --create-home appuser \
    && install -d -o appuser /var/lib/kafka/data /etc/kafka/secrets /mnt/shared/config /opt/kafka /etc/kafka/docker
COPY java-runtime /opt/java
COPY jars /opt/kafka/libs
COPY --chmod=755 kafka-run.sh /etc/kafka/docker/run
USER appuser
EXPOSE 9092
VOLUME ["/etc/kafka/secrets", "/var/lib/kafka/data", "/mnt/shared/config"]
CMD ["/etc/kafka/docker/run"]

#!/bin/bash
# KAFKA_LOG_DIRS=x becomes log.dirs=x; storage is formatted where it is not; then the broker.
set -euo pipefail
properties=/opt/kafka/server.properties
env | sed -n 's/^KAFKA_\([A-Z_]*\)=\(.*\)$/\1=\2/p' | while IFS='=' read -r name value; do
    case $name in HEAP_OPTS | OPTS | JMX_*) continue ;; esac
    echo "$(echo "$name" | tr 'A-Z_' 'a-z.')=$value"
done > "$properties"
cat > /opt/kafka/log4j2.properties <<'END'
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=[%d] %p %m (%c)%n
rootLogger.level=warn
rootLogger.appenderRef.console.ref=console
logger.server.name=kafka.server.KafkaRaftServer
logger.server.level=info
END
jvm=(/opt/java/bin/java -Xms96m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:+ExitOnOutOfMemoryError
    --enable-native-access=ALL-UNNAMED --sun-misc-unsafe-memory-access=allow
    -Dlog4j2.configurationFile=/opt/kafka/log4j2.properties -cp "/opt/kafka/libs/*")
"${jvm[@]}" kafka.tools.StorageTool format --cluster-id="$CLUSTER_ID" --config="$properties" --ignore-formatted
exec "${jvm[@]}" kafka.Kafka "$properties"

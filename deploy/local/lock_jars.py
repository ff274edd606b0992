"""Write `kafka.lock` anew: `python -m deploy.local.lock_jars VERSION`.

The sha256 of each jar is that of the copy fetched now; a lock that changes without a change of version is a reason
to look, not to commit.
"""

import hashlib
import sys
import tempfile
from pathlib import Path

from jgo.config import GlobalSettings
from jgo.constants import MAVEN_CENTRAL_URL
from jgo.maven import MavenContext

from deploy.local.jars import LOCK

HEADER = "# The jars of Apache Kafka, and the sha256 of each. Written by `python -m deploy.local.lock_jars VERSION`.\n"


def main() -> None:
    (version,) = sys.argv[1:]
    with tempfile.TemporaryDirectory() as repository:
        context = MavenContext(
            repo_cache=Path(repository),
            remote_repos={"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories},
        )
        broker = [context.create_dependency(f"org.apache.kafka:kafka_2.13:{version}")]
        inputs, transitive = context.resolver.resolve(broker)
        artifacts = [dependency.artifact for dependency in inputs + transitive]
        # The published pom leaves the logging backend to the distribution, which takes log4j's. It is added after
        # the resolution: resolved together, log4j's bill of materials would lower the version of kafka-clients.
        log4j = next(artifact.version for artifact in artifacts if artifact.artifactId == "log4j-core")
        backend = context.create_dependency(f"org.apache.logging.log4j:log4j-slf4j-impl:{log4j}")
        artifacts.append(backend.artifact)
        lines = sorted(
            f"{one.groupId}:{one.artifactId}:{one.version} {hashlib.sha256(one.resolve().read_bytes()).hexdigest()}\n"
            for one in artifacts
        )
    LOCK.write_text(HEADER + "".join(lines))


if __name__ == "__main__":
    main()

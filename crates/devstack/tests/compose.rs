//! `docker-compose.yml` fits the example configurations and is complete. It is read here, not run: that takes an engine.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Compose {
    services: BTreeMap<String, Service>,
    volumes: BTreeMap<String, Option<Value>>,
}

#[derive(Deserialize)]
struct Service {
    image: String,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    environment: BTreeMap<String, Value>,
    #[serde(default)]
    ports: Vec<String>,
    #[serde(default)]
    profiles: Vec<String>,
    #[serde(default)]
    volumes: Vec<String>,
    #[serde(default)]
    depends_on: BTreeMap<String, Dependency>,
    healthcheck: Option<Healthcheck>,
}

#[derive(Deserialize)]
struct Dependency {
    condition: String,
}

#[derive(Deserialize)]
struct Healthcheck {
    test: Vec<String>,
    interval: String,
    timeout: String,
    retries: u32,
}

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn yaml<T: serde::de::DeserializeOwned>(file: &str) -> T {
    let text = fs::read_to_string(repository().join(file)).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn compose() -> Compose {
    yaml("docker-compose.yml")
}

impl Service {
    /// The port of the host behind which the container's `inside` is.
    fn host_port(&self, inside: u16) -> Option<u16> {
        self.ports.iter().find_map(|mapping| {
            let mut parts = mapping.rsplit(':');
            let matches = parts.next()?.parse() == Ok(inside);
            parts.next()?.parse().ok().filter(|_| matches)
        })
    }
}

#[test]
fn brings_the_four_servers_and_both_services() {
    let (watching, own): (Vec<_>, Vec<_>) =
        compose().services.into_iter().partition(|(_, service)| service.profiles == ["observability"]);
    let names = |services: Vec<(String, Service)>| -> Vec<String> {
        services.into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(names(own), ["kafka", "mongodb", "postgres", "redis", "syncer", "watcher"]);
    assert_eq!(names(watching), ["collector", "grafana", "jaeger", "loki", "prometheus"]);
}

#[test]
fn every_service_has_a_complete_health_check() {
    for (name, service) in compose().services {
        let Some(check) = service.healthcheck else {
            assert!(["collector", "loki"].contains(&name.as_str()), "{name} has a program to ask with");
            continue;
        };
        assert!(["CMD", "CMD-SHELL"].contains(&check.test[0].as_str()), "{name}: {:?}", check.test);
        assert!(check.test.len() >= 2, "{name}");
        assert!(check.interval.ends_with('s') && check.timeout.ends_with('s') && check.retries > 1, "{name}");
    }
}

#[test]
fn every_image_is_pinned_to_a_full_version() {
    for (name, service) in compose().services {
        let (_, tag) = service.image.rsplit_once(':').unwrap_or_else(|| panic!("{name}: {}", service.image));
        let numbers = tag.split('.').filter(|part| part.parse::<u32>().is_ok()).count();
        assert!(numbers >= 2, "{name}: {} names no exact version", service.image);
    }
    let dockerfile = fs::read_to_string(repository().join("Dockerfile")).unwrap();
    let mut bases = dockerfile.lines().filter_map(|line| line.strip_prefix("FROM "));
    assert!(bases.all(|image| image.contains(":1.") || image.contains(":12.")), "{dockerfile}");
}

#[test]
fn whoever_is_waited_for_exists_and_must_be_healthy() {
    let compose = compose();
    for (name, service) in &compose.services {
        for (other, dependency) in &service.depends_on {
            assert!(compose.services.contains_key(other), "{name} waits for {other}");
            assert_eq!(dependency.condition, "service_healthy", "{name} waits for {other}");
        }
    }
    let waits = |name: &str| compose.services[name].depends_on.keys().cloned().collect::<Vec<_>>();
    assert_eq!(waits("watcher"), ["kafka", "mongodb", "redis"]);
    assert_eq!(waits("syncer"), ["kafka", "postgres", "watcher"]);
}

#[test]
fn the_servers_are_where_the_examples_look_for_them() {
    let compose = compose();
    let watcher: Value = yaml("examples/watcher.yaml");
    let syncer: Value = yaml("examples/syncer.yaml");
    let host =
        |name: &str, inside| format!("localhost:{}", compose.services[name].host_port(inside).unwrap());

    assert_eq!(watcher["mongodb"]["uri"], format!("mongodb://{}", host("mongodb", 27017)));
    assert_eq!(watcher["kafka"]["brokers"][0], host("kafka", 9092));
    assert_eq!(syncer["kafka"]["brokers"][0], host("kafka", 9092));
    assert_eq!(watcher["token_storage"]["redis"]["addr"], host("redis", 6379));
    assert_eq!(syncer["postgres"]["port"], compose.services["postgres"].host_port(5432).unwrap());

    let postgres = &compose.services["postgres"].environment;
    assert_eq!(syncer["postgres"]["database"], postgres["POSTGRES_DB"]);
    assert_eq!(syncer["postgres"]["user"], postgres["POSTGRES_USER"]);
    assert_eq!(syncer["postgres"]["password"], postgres["POSTGRES_PASSWORD"]);
    let advertised = compose.services["kafka"].environment["KAFKA_ADVERTISED_LISTENERS"].as_str().unwrap();
    assert!(advertised.contains(&format!("HOST://{}", host("kafka", 9092))), "{advertised}");
}

#[test]
fn the_services_reach_the_servers_and_are_asked_where_they_listen() {
    let compose = compose();
    let asked = fs::read_to_string(repository().join("deploy/container/cdc-healthy")).unwrap();
    assert!(asked.contains("GET /readyz"), "{asked}");
    for (name, command, port) in [("watcher", "watch", 9464), ("syncer", "sync", 9465)] {
        let service = &compose.services[name];
        assert_eq!(service.command, [command, "-c", &format!("/etc/cdc/{name}.yaml")]);
        let image: Value = yaml(&format!("deploy/container/{command}.yaml"));
        assert_eq!(image["http"]["listen"], format!("0.0.0.0:{port}"));
        assert_eq!(service.environment["CDC__KAFKA__BROKERS"], "kafka:19092");
        assert_eq!(service.host_port(port), Some(port));
        assert_eq!(service.healthcheck.as_ref().unwrap().test.last().unwrap(), "/usr/local/bin/cdc-healthy");
        assert!(asked.contains(&format!(" {port}")), "{asked}");
    }
    let kafka = compose.services["kafka"].environment["KAFKA_ADVERTISED_LISTENERS"].as_str().unwrap();
    assert!(kafka.contains("NETWORK://kafka:19092"), "{kafka}");
    assert_eq!(compose.services["syncer"].environment["CDC__POSTGRES__HOST"], "postgres");
    assert_eq!(compose.services["watcher"].environment["CDC__TOKEN_STORAGE__REDIS__ADDR"], "redis:6379");
}

#[test]
fn everything_mounted_exists() {
    let compose = compose();
    for (name, service) in &compose.services {
        for volume in &service.volumes {
            let source = volume.split(':').next().unwrap();
            let exists = match source.strip_prefix("./") {
                Some(path) => repository().join(path).exists(),
                // Where Docker keeps the containers' logs.
                None if source == "/var/lib/docker/containers" => true,
                None => compose.volumes.contains_key(source),
            };
            assert!(exists, "{name} mounts {source}");
        }
    }
}

/// What the profile `observability` keeps, and for how long; and that each part finds the others.
#[test]
fn spans_and_logs_are_kept_for_a_week_and_metrics_for_a_month() {
    let compose = compose();
    let hours = |text: &Value| text.as_str().unwrap().trim_end_matches('h').parse::<u32>().unwrap();
    let week = 7 * 24;
    assert_eq!(hours(&compose.services["jaeger"].environment["BADGER_SPAN_STORE_TTL"]), week);
    let loki: Value = yaml("deploy/observability/loki.yaml");
    assert_eq!(hours(&loki["limits_config"]["retention_period"]), week);
    assert_eq!(loki["compactor"]["retention_enabled"], true);
    assert!(compose.services["prometheus"].command.contains(&"--storage.tsdb.retention.time=30d".to_owned()));
}

/// `host:port` of every address in the profile's files, each with where it stands.
fn addresses() -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let mut add = |place, address: &Value| {
        let text = address.as_str().unwrap().trim_start_matches("http://");
        found.push((place, text.split('/').next().unwrap().to_owned()));
    };
    let collector: Value = yaml("deploy/observability/collector.yaml");
    for exporter in collector["exporters"].as_object().unwrap().values() {
        add("the collector's exporter", &exporter["endpoint"]);
    }
    let sources: Value = yaml("deploy/observability/grafana/datasources.yaml");
    for source in sources["datasources"].as_array().unwrap() {
        add("Grafana's source", &source["url"]);
    }
    let prometheus: Value = yaml("deploy/observability/prometheus.yaml");
    for job in prometheus["scrape_configs"].as_array().unwrap() {
        for target in job["static_configs"][0]["targets"].as_array().unwrap() {
            add("Prometheus' target", target);
        }
    }
    // What the comment at the top says, and the page.
    for file in ["docker-compose.yml", "docs/tracing.md"] {
        let text = fs::read_to_string(repository().join(file)).unwrap();
        let named = text.split("OTEL_EXPORTER_OTLP_ENDPOINT=").nth(1).unwrap();
        add(file, &Value::from(named.split_whitespace().next().unwrap().trim_end_matches('`')));
    }
    found
}

/// Where a service of the profile listens: what its own file says, and else what its image does by itself.
fn listens(service: &str) -> Vec<String> {
    let file = |path: &str| -> Value { yaml(path) };
    let port = |address: &Value| address.as_str().unwrap().rsplit(':').next().unwrap().to_owned();
    match service {
        "watcher" => vec![port(&file("deploy/container/watch.yaml")["http"]["listen"])],
        "syncer" => vec![port(&file("deploy/container/sync.yaml")["http"]["listen"])],
        "collector" => {
            let protocols = &file("deploy/observability/collector.yaml")["receivers"]["otlp"]["protocols"];
            let protocols = protocols.as_object().unwrap().values();
            protocols.map(|protocol| port(&protocol["endpoint"])).collect()
        }
        "loki" => vec![file("deploy/observability/loki.yaml")["server"]["http_listen_port"].to_string()],
        // OTLP over gRPC, the page and its own health.
        "jaeger" => ["4317", "16686", "14269"].map(str::to_owned).to_vec(),
        "prometheus" => vec!["9090".to_owned()],
        "grafana" => vec!["3000".to_owned()],
        other => panic!("{other} is no service of the profile"),
    }
}

#[test]
fn every_address_in_the_profile_is_one_at_which_its_service_listens() {
    let compose = compose();
    let addresses = addresses();
    assert!(addresses.len() >= 9, "{addresses:?}");
    for (place, address) in addresses {
        let (host, port) = address.split_once(':').unwrap();
        assert!(compose.services.contains_key(host), "{place}: {address}");
        assert!(listens(host).contains(&port.to_owned()), "{place}: {address}");
    }
    for (name, service) in &compose.services {
        if service.profiles == ["observability"] {
            for mapping in &service.ports {
                let inside = mapping.rsplit(':').next().unwrap().to_owned();
                assert!(listens(name).contains(&inside), "{name} publishes {inside}");
            }
            let asked = service.healthcheck.iter().filter_map(|check| check.test.last());
            for url in asked {
                let address = url.trim_start_matches("http://").split('/').next().unwrap();
                let port = address.rsplit(':').next().unwrap().to_owned();
                assert!(listens(name).contains(&port), "{name} is asked at {url}");
            }
        }
    }
}

#[test]
fn every_part_that_a_pipeline_of_the_collector_names_is_there() {
    let collector: Value = yaml("deploy/observability/collector.yaml");
    for (name, pipeline) in collector["service"]["pipelines"].as_object().unwrap() {
        for part in ["receivers", "processors", "exporters"] {
            for used in pipeline[part].as_array().unwrap() {
                assert!(collector[part].get(used.as_str().unwrap()).is_some(), "{name}: {part}: {used}");
            }
        }
    }
}

/// What is mounted for a program stands in its command, or in a file that is mounted for it.
#[test]
fn every_program_of_the_profile_reads_what_is_mounted() {
    for (name, service) in compose().services {
        if service.profiles != ["observability"] {
            continue;
        }
        let mounted = service.volumes.iter().filter_map(|volume| volume.strip_prefix("./"));
        let mounted: Vec<(&str, &str)> = mounted
            .map(|volume| {
                let mut parts = volume.split(':');
                (parts.next().unwrap(), parts.next().unwrap())
            })
            .collect();
        let mut read = service.command.join(" ");
        for (file, _) in mounted.iter().filter(|(file, _)| repository().join(file).is_file()) {
            read += &fs::read_to_string(repository().join(file)).unwrap();
        }
        for (_, inside) in mounted {
            // Grafana looks into that folder by itself.
            let is_found = read.contains(inside) || inside.starts_with("/etc/grafana/provisioning/");
            assert!(is_found, "{name} is told nowhere of {inside}");
        }
    }
}

/// What the collector takes out of a line of the log stands in one that the services write.
#[test]
fn the_collector_reads_lines_as_they_are_written() {
    let collector: Value = yaml("deploy/observability/collector.yaml");
    let text = collector["receivers"]["filelog"]["operators"].to_string();
    let page = fs::read_to_string(repository().join("docs/log-events.md")).unwrap();
    let fields: Vec<&str> =
        text.split("attributes.").skip(1).map(|rest| rest.split(['"', '.']).next().unwrap()).collect();
    assert_eq!(fields, ["level", "trace_id", "span_id", "service"]);
    for field in fields {
        assert!(page.contains(&format!("`{field}`")), "{field} is no field of the log");
    }
}

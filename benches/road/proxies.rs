//! The proxies to compare with, as bare reverse proxies: two workers, no access log, nothing buffered as a
//! whole, kept connections to the store, and buffers as large as serve them best.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    process::{Process, free_port},
    transport::{Identity, Transport},
};

/// Someone to send to.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) port: u16,
    pub(crate) transport: Transport,
    /// Whose cost is measured; none for the store itself.
    pub(crate) process: Option<Process>,
}

/// A configuration file and the arguments to run with it.
struct Setup {
    name: &'static str,
    file: &'static str,
    content: fn(dir: &str, place: &Place) -> String,
    arguments: &'static [&'static str],
}

/// Where a proxy stands.
struct Place<'a> {
    port: u16,
    store: u16,
    /// With what it ends TLS; none for HTTP in the clear.
    identity: Option<&'a Identity>,
}

const SETUPS: &[Setup] = &[
    Setup { name: "nginx", file: "nginx.conf", content: nginx, arguments: &["-c", "FILE"] },
    Setup { name: "haproxy", file: "haproxy.cfg", content: haproxy, arguments: &["-f", "FILE"] },
    Setup {
        name: "envoy",
        file: "envoy.json",
        content: envoy,
        arguments: &["-c", "FILE", "--concurrency", "2", "--use-dynamic-base-id", "-l", "error"],
    },
];

/// Starts those that are installed, in front of the store at `store`. They end TLS where there is an
/// `identity`.
pub(crate) fn start_installed(dir: &Path, store: u16, identity: Option<&Identity>) -> Vec<Target> {
    let dir = &dir.join(if identity.is_some() { "tls" } else { "plain" });
    fs::create_dir(dir).unwrap();
    let start = |setup: &Setup| {
        let Some(program) = find(setup.name) else {
            eprintln!("{} is not installed: left out", setup.name);
            return None;
        };
        let port = free_port();
        let file = dir.join(setup.file);
        let place = Place { port, store, identity };
        fs::write(&file, (setup.content)(&dir.display().to_string(), &place)).unwrap();
        let mut command = Command::new(program);
        let file = file.display().to_string();
        command.args(setup.arguments.iter().map(|argument| argument.replace("FILE", &file)));
        let log = dir.join(setup.name).with_extension("log");
        let process = Process::start(command, Some(&log)).listening_on(port).process;
        let transport = identity.map_or(Transport::Plain, |identity| identity.transport.clone());
        Some(Target { name: setup.name, port, transport, process: Some(process) })
    };
    SETUPS.iter().filter_map(start).collect()
}

fn find(name: &str) -> Option<PathBuf> {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/target/interop/bin");
    let path = env::var_os("PATH").unwrap_or_default();
    let places = env::var_os("SUBGATE_BENCH_BIN").map(PathBuf::from).into_iter().chain([own.into()]);
    places.chain(env::split_paths(&path)).map(|place| place.join(name)).find(|file| file.is_file())
}

fn nginx(dir: &str, place: &Place) -> String {
    let Place { port, store, identity } = place;
    let (ssl, tls) = identity.map_or(Default::default(), |identity| {
        let (certificate, key) = (identity.certificate.display(), identity.key.display());
        ("ssl", format!("ssl_protocols TLSv1.3; ssl_certificate {certificate}; ssl_certificate_key {key};"))
    });
    format!(
        "daemon off; worker_processes 2; pid {dir}/nginx.pid; error_log stderr;
events {{ worker_connections 1024; }}
http {{
  access_log off; tcp_nodelay on; keepalive_requests 1000000000; client_max_body_size 0;
  client_body_temp_path {dir}/nginx-body; proxy_temp_path {dir}/nginx-proxy;
  fastcgi_temp_path {dir}/nginx-fastcgi;
  uwsgi_temp_path {dir}/nginx-uwsgi; scgi_temp_path {dir}/nginx-scgi;
  client_body_buffer_size 256k; large_client_header_buffers 4 32k;
  upstream store {{ server 127.0.0.1:{store}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} {ssl} reuseport; {tls}
    location / {{
      proxy_pass http://store; proxy_http_version 1.1;
      proxy_set_header Connection \"\"; proxy_set_header Host $http_host;
      proxy_buffering off; proxy_request_buffering off; proxy_buffer_size 256k; proxy_buffers 4 256k;
    }}
  }}
}}
"
    )
}

fn haproxy(_dir: &str, place: &Place) -> String {
    let Place { port, store, identity } = place;
    let tls = identity.map_or_else(String::new, |identity| {
        format!("ssl crt {} ssl-min-ver TLSv1.3 alpn http/1.1", identity.both.display())
    });
    format!(
        "global
  nbthread 2
  tune.bufsize 131072
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option http-keep-alive
  http-reuse always
frontend clients
  bind 127.0.0.1:{port} {tls}
  default_backend store
backend store
  server store 127.0.0.1:{store}
"
    )
}

fn envoy(_dir: &str, place: &Place) -> String {
    let Place { port, store, identity } = place;
    let mut tls = serde_json::Map::new();
    if let Some(identity) = identity {
        let context = serde_json::json!({
            "name": "tls",
            "typed_config": {
                "@type": concat!(
                    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.",
                    "DownstreamTlsContext"
                ),
                "common_tls_context": {
                    "tls_params": {"tls_minimum_protocol_version": "TLSv1_3"},
                    "alpn_protocols": ["http/1.1"],
                    "tls_certificates": [{
                        "certificate_chain": {"filename": identity.certificate},
                        "private_key": {"filename": identity.key},
                    }],
                },
            },
        });
        tls.insert("transport_socket".to_owned(), context);
    }
    let address = |port| serde_json::json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    let limit = 1 << 20;
    serde_json::json!({"static_resources": {
        "listeners": [{
            "address": address(port),
            "per_connection_buffer_limit_bytes": limit,
            "filter_chains": [with(tls, serde_json::json!({"filters": [{
                "name": "http",
                "typed_config": {
                    "@type": concat!(
                        "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.",
                        "HttpConnectionManager"
                    ),
                    "stat_prefix": "http",
                    "generate_request_id": false,
                    "route_config": {"virtual_hosts": [{
                        "name": "all",
                        "domains": ["*"],
                        "routes": [{
                            "match": {"prefix": "/"},
                            "route": {"cluster": "store", "timeout": "0s"},
                        }],
                    }]},
                    "http_filters": [{
                        "name": "router",
                        "typed_config": {
                            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                            "suppress_envoy_headers": true,
                        },
                    }],
                },
            }]}))],
        }],
        "clusters": [{
            "name": "store",
            "type": "STATIC",
            "per_connection_buffer_limit_bytes": limit,
            "load_assignment": {"cluster_name": "store", "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": address(store)}},
            ]}]},
        }],
    }})
    .to_string()
}

/// An object with further members.
fn with(more: serde_json::Map<String, serde_json::Value>, object: serde_json::Value) -> serde_json::Value {
    let serde_json::Value::Object(members) = object else { return object };
    members.into_iter().chain(more).collect()
}

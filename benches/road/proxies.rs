//! The proxies to compare with, as bare reverse proxies: two workers, nothing buffered as a whole, kept
//! connections to the store, and buffers as large as serve them best. Each has a row without an access log
//! and one with a line for each request, of the same fields in the same form.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    cases::{Case, Over},
    process::{Process, free_port},
    report::{figures::NGINX, machine},
    transport::{Identity, Transport},
};

/// Someone to send to.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) port: u16,
    pub(crate) transport: Transport,
    /// Whose cost is measured; none for the store itself.
    pub(crate) process: Option<Process>,
    pub(crate) suits: Suits,
}

/// In which cases a row says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suits {
    All,
    /// Those whose cost is that of requests.
    Small,
    /// Those whose cost is that of bodies, in the clear.
    LargeInTheClear,
}

impl Suits {
    fn over(self, over: Over) -> bool {
        self != Self::LargeInTheClear || over == Over::Tcp
    }

    pub(crate) fn case(self, case: &Case) -> bool {
        self.over(case.over)
            && match self {
                Self::All => true,
                Self::Small => !case.is_large(),
                Self::LargeInTheClear => case.is_large(),
            }
    }
}

/// A way to run a proxy.
struct Setup {
    /// Of its row.
    name: &'static str,
    program: &'static str,
    /// How it is asked for its version.
    version: &'static str,
    content: fn(place: &Place) -> String,
    arguments: &'static [&'static str],
    variant: Variant,
    suits: Suits,
}

/// What makes two rows of one proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    /// Without an access log.
    Bare,
    /// With one, written as it serves best: in batches, where it can, that wait no longer than Subgate's.
    Log,
    /// With one whose lines are written one by one.
    Line,
    /// Without one; bodies stay in the kernel.
    Splice,
}

/// Where a proxy stands.
struct Place<'a> {
    port: u16,
    store: u16,
    /// With what it ends TLS; none for HTTP in the clear.
    identity: Option<&'a Identity>,
    /// Where its own files may lie, and what their names begin with.
    files: String,
    variant: Variant,
}

const NGINX_BARE: Setup = Setup {
    name: "nginx",
    program: "nginx",
    version: "-v",
    content: nginx,
    arguments: &["-c", "FILE"],
    variant: Variant::Bare,
    suits: Suits::All,
};

const HAPROXY_BARE: Setup = Setup {
    name: "haproxy",
    program: "haproxy",
    version: "-v",
    content: haproxy,
    arguments: &["-f", "FILE"],
    variant: Variant::Bare,
    suits: Suits::All,
};

const ENVOY_BARE: Setup = Setup {
    name: "envoy",
    program: "envoy",
    version: "--version",
    content: envoy,
    arguments: &[
        "-c",
        "FILE",
        "--concurrency",
        "2",
        "--use-dynamic-base-id",
        "-l",
        "error",
        "--file-flush-interval-msec",
        "50",
    ],
    variant: Variant::Bare,
    suits: Suits::All,
};

const SETUPS: &[Setup] = &[
    Setup { name: NGINX, variant: Variant::Log, ..NGINX_BARE },
    Setup { name: "nginx+line", variant: Variant::Line, suits: Suits::Small, ..NGINX_BARE },
    NGINX_BARE,
    Setup { name: "haproxy+log", variant: Variant::Log, ..HAPROXY_BARE },
    HAPROXY_BARE,
    Setup { name: "haproxy-splice", variant: Variant::Splice, suits: Suits::LargeInTheClear, ..HAPROXY_BARE },
    Setup { name: "envoy+log", variant: Variant::Log, ..ENVOY_BARE },
    ENVOY_BARE,
];

/// Starts those that are installed and wanted, in front of the store at `store`. They end TLS where there is
/// an `identity`.
pub(crate) fn start_installed(
    dir: &Path,
    store: u16,
    identity: Option<&Identity>,
    is_wanted: impl Fn(&str) -> bool,
) -> Vec<Target> {
    let dir = &dir.join(if identity.is_some() { "tls" } else { "plain" });
    fs::create_dir(dir).unwrap();
    let over = if identity.is_some() { Over::Tls } else { Over::Tcp };
    let start = |setup: &&Setup| {
        let Some(program) = find(setup.program) else {
            if setup.variant == Variant::Bare && over == Over::Tcp {
                eprintln!("{} is not installed: left out", setup.program);
            }
            return None;
        };
        let port = free_port();
        let file = dir.join(setup.name).display().to_string();
        let place = Place { port, store, identity, files: file.clone(), variant: setup.variant };
        // Envoy wants to know the language by the ending.
        let file = file + ".json";
        fs::write(&file, (setup.content)(&place)).unwrap();
        let mut command = Command::new(program);
        command.args(setup.arguments.iter().map(|argument| argument.replace("FILE", &file)));
        let process = Process::start(command, Some(&dir.join(format!("{}.stderr", setup.name))));
        let process = process.listening_on(port).process;
        let transport = identity.map_or(Transport::Plain, |identity| identity.transport.clone());
        Some(Target { name: setup.name, port, transport, process: Some(process), suits: setup.suits })
    };
    let wanted = SETUPS.iter().filter(|setup| is_wanted(setup.name) && setup.suits.over(over));
    wanted.filter_map(|setup| start(&setup)).collect()
}

/// The versions of the programs behind these rows.
pub(crate) fn versions(targets: &[Target]) -> Vec<(String, String)> {
    let bare = SETUPS.iter().filter(|setup| setup.variant == Variant::Bare);
    let is_there = |setup: &&Setup| {
        let own = SETUPS.iter().filter(|other| other.program == setup.program).map(|other| other.name);
        own.into_iter().any(|name| targets.iter().any(|target| target.name == name))
    };
    bare.filter(is_there)
        .filter_map(|setup| {
            let said = Command::new(find(setup.program)?).arg(setup.version).output().unwrap();
            let said = [said.stdout, said.stderr].concat();
            let version = machine::version(&String::from_utf8_lossy(&said));
            Some((setup.program.to_owned(), version.unwrap_or_default()))
        })
        .collect()
}

fn find(name: &str) -> Option<PathBuf> {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/target/interop/bin");
    let path = env::var_os("PATH").unwrap_or_default();
    let places = env::var_os("SUBGATE_BENCH_BIN").map(PathBuf::from).into_iter().chain([own.into()]);
    places.chain(env::split_paths(&path)).map(|place| place.join(name)).find(|file| file.is_file())
}

/// The lines of all logs: JSON, of what Subgate's have for a proxy that knows nothing of S3.
fn log_line(fields: &[(&str, &str)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect();
    format!("{{{}}}", fields.join(","))
}

fn nginx(place: &Place) -> String {
    let Place { port, store, identity, files, variant } = place;
    let (ssl, tls) = identity.map_or(Default::default(), |identity| {
        let (certificate, key) = (identity.certificate.display(), identity.key.display());
        ("ssl", format!("ssl_protocols TLSv1.3; ssl_certificate {certificate}; ssl_certificate_key {key};"))
    });
    let line = log_line(&[
        ("time", "$time_iso8601"),
        ("client", "$remote_addr"),
        ("request_id", "$connection-$connection_requests"),
        ("method", "$request_method"),
        ("path", "$uri"),
        ("status", "$status"),
        ("bytes_in", "$content_length"),
        ("bytes_out", "$body_bytes_sent"),
        ("seconds", "$request_time"),
        ("store_seconds", "$upstream_header_time"),
        ("user_agent", "$http_user_agent"),
    ]);
    let log = match variant {
        Variant::Log => format!("access_log {files}.access line buffer=64k flush=50ms;"),
        Variant::Line => format!("access_log {files}.access line;"),
        Variant::Bare | Variant::Splice => "access_log off;".to_owned(),
    };
    format!(
        "daemon off; worker_processes 2; pid {files}.pid; error_log stderr;
events {{ worker_connections 1024; }}
http {{
  log_format line escape=json '{line}'; {log}
  tcp_nodelay on; keepalive_requests 1000000000; client_max_body_size 0;
  client_body_temp_path {files}-body; proxy_temp_path {files}-proxy; fastcgi_temp_path {files}-fastcgi;
  uwsgi_temp_path {files}-uwsgi; scgi_temp_path {files}-scgi;
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

fn haproxy(place: &Place) -> String {
    let Place { port, store, identity, variant, .. } = place;
    let tls = identity.map_or_else(String::new, |identity| {
        format!("ssl crt {} ssl-min-ver TLSv1.3 alpn http/1.1", identity.both.display())
    });
    // A pipe takes the place of the buffer, so it is as large as the kernel gives to everybody; the buffer
    // itself is for heads, and the less of a body it takes, the more is spliced.
    let of_buffers = match variant {
        Variant::Splice => "tune.bufsize 16384\n  tune.pipesize 1048576",
        _ => "tune.bufsize 131072",
    };
    let line = log_line(&[
        ("time", "%tr"),
        ("client", "%ci"),
        ("request_id", "%cp-%rt"),
        ("method", "%HM"),
        ("path", "%HP"),
        ("status", "%ST"),
        ("bytes_in", "%U"),
        ("bytes_out", "%B"),
        ("milliseconds", "%Ta"),
        ("store_milliseconds", "%Tr"),
        ("user_agent", "%[capture.req.hdr(0)]"),
    ]);
    let (of_defaults, of_frontend) = match variant {
        // One write for each line: haproxy has no other way into a file.
        Variant::Log | Variant::Line => (
            "log stderr len 4096 format raw local0".to_owned(),
            format!(
                "capture request header User-Agent len 128\n  log-format \"{}\"",
                line.replace('"', "\\\"")
            ),
        ),
        Variant::Splice => ("option splice-request\n  option splice-response".to_owned(), String::new()),
        Variant::Bare => Default::default(),
    };
    format!(
        "global
  nbthread 2
  {of_buffers}
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option http-keep-alive
  http-reuse always
  {of_defaults}
frontend clients
  bind 127.0.0.1:{port} {tls}
  {of_frontend}
  default_backend store
backend store
  server store 127.0.0.1:{store}
"
    )
}

fn envoy(place: &Place) -> String {
    let Place { port, store, identity, files, variant } = place;
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
    let line = log_line(&[
        ("time", "%START_TIME%"),
        ("client", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
        ("request_id", "%CONNECTION_ID%"),
        ("method", "%REQ(:METHOD)%"),
        ("path", "%REQ(:PATH)%"),
        ("status", "%RESPONSE_CODE%"),
        ("bytes_in", "%BYTES_RECEIVED%"),
        ("bytes_out", "%BYTES_SENT%"),
        ("milliseconds", "%DURATION%"),
        ("store_milliseconds", "%RESPONSE_DURATION%"),
        ("user_agent", "%REQ(USER-AGENT)%"),
    ]);
    // It writes in batches, every `--file-flush-interval-msec`.
    let log = serde_json::json!({
        "name": "file",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": format!("{files}.access"),
            "log_format": {"text_format_source": {"inline_string": line + "\n"}},
        },
    });
    let logs: Vec<_> = Some(log).filter(|_| matches!(variant, Variant::Log)).into_iter().collect();
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
                    "access_log": logs,
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

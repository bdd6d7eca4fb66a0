{{- define "subgate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "subgate.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 56 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "subgate.name" . -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 56 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "subgate.selector" -}}
app.kubernetes.io/name: {{ include "subgate.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "subgate.labels" -}}
{{ include "subgate.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "subgate.serviceAccount" -}}
{{- default (ternary (include "subgate.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "subgate.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}{{- end -}}
{{- end -}}
{{- end -}}

{{- define "subgate.scheme" -}}
{{- ternary "HTTPS" "HTTP" (not (empty .Values.tls.secretName)) -}}
{{- end -}}

{{/* An httpGet of the kubelet: at the admin listener where there is one, for clients may have to show
     certificates at the other. */}}
{{- define "subgate.httpGet" -}}
httpGet:
  path: {{ .path }}
  port: {{ ternary "admin" "s3" .root.Values.admin.enabled }}
  scheme: {{ include "subgate.scheme" .root }}
{{- end -}}

{{- define "subgate.tomlKey" -}}
{{- ternary . (toJson .) (regexMatch "^[A-Za-z0-9_-]+$" .) -}}
{{- end -}}

{{/* A value as TOML. JSON's strings are TOML's as well; YAML knows whole numbers as floats. */}}
{{- define "subgate.toml" -}}
{{- if kindIs "map" . -}}
{{- $pairs := list -}}
{{- range $name, $value := . -}}
{{- if not (kindIs "invalid" $value) -}}
{{- $pairs = append $pairs (printf "%s = %s" (include "subgate.tomlKey" $name) (include "subgate.toml" $value)) -}}
{{- end -}}
{{- end -}}
{ {{ join ", " $pairs }} }
{{- else if kindIs "slice" . -}}
{{- $items := list -}}
{{- range . -}}{{- $items = append $items (include "subgate.toml" .) -}}{{- end -}}
[{{ join ", " $items }}]
{{- else if kindIs "float64" . -}}
{{- if eq (floor .) . -}}{{ printf "%.0f" . }}{{- else -}}{{ toString . }}{{- end -}}
{{- else -}}
{{- toJson . -}}
{{- end -}}
{{- end -}}

{{/* What the chart sets by itself must not be set beside it: one of the two would be lost in silence. */}}
{{- define "subgate.check" -}}
{{- $server := .Values.config.server -}}
{{- range $name, $value := dict "listen" "service.port" "admin" "admin.enabled" "admin_tls" "admin.enabled" "admin_token_file" "admin.tokenKey" "group_reads_secrets" "no value; it is always true" "plaintext_beyond_loopback" "plaintext" "drain_announce_seconds" "termination.announceSeconds" "drain_seconds_max" "termination.drainSecondsMax" -}}
{{- if hasKey $server $name -}}
{{- fail (printf "config.server.%s is set by the chart: use %s" $name $value) -}}
{{- end -}}
{{- end -}}
{{- if hasKey (default dict $server.tls) "certificates" -}}
{{- fail "config.server.tls.certificates is set by the chart: use tls.secretName" -}}
{{- end -}}
{{- if hasKey (default dict (default dict .Values.config.limits).shared) "url" -}}
{{- fail "config.limits.shared.url is set by the chart: use redis.url" -}}
{{- end -}}
{{- if and .Values.config.limits .Values.config.limits.shared (not .Values.redis.url) -}}
{{- fail "config.limits.shared counts only with redis.url" -}}
{{- end -}}
{{- if and .Values.tls.secretName .Values.plaintext -}}
{{- fail "tls.secretName and plaintext exclude each other" -}}
{{- end -}}
{{- if not (or .Values.tls.secretName .Values.plaintext) -}}
{{- fail "tls.secretName is missing: name a Secret with a certificate, or set plaintext where something in front ends TLS" -}}
{{- end -}}
{{- if and .Values.admin.enabled (not .Values.tls.secretName) -}}
{{- fail "admin.enabled needs tls.secretName: the token would be readable on its way" -}}
{{- end -}}
{{- if and (eq (toString (default dict $server.tls).client_certificates) "required") (not .Values.admin.enabled) -}}
{{- fail "config.server.tls.client_certificates is \"required\", and the kubelet has no certificate: set admin.enabled, so that it asks there" -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled (not .Values.admin.enabled) -}}
{{- fail "serviceMonitor.enabled needs admin.enabled" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- fail "ingress.enabled needs ingress.hosts" -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.egress) -}}
{{- fail "networkPolicy.enabled needs networkPolicy.egress: at least the store must be reached" -}}
{{- end -}}
{{- end -}}

{{/* proxy.toml: what the values say, with what the chart knows. */}}
{{- define "subgate.proxyToml" -}}
{{- include "subgate.check" . -}}
{{- $config := deepCopy .Values.config -}}
{{- $secrets := "/run/secrets/subgate" -}}
{{- $server := $config.server -}}
{{- $_ := set $server "listen" "0.0.0.0:8014" -}}
{{- $_ := set $server "group_reads_secrets" true -}}
{{- $_ := set $server "drain_announce_seconds" .Values.termination.announceSeconds -}}
{{- $_ := set $server "drain_seconds_max" .Values.termination.drainSecondsMax -}}
{{- if .Values.tls.secretName -}}
{{- $pair := dict "certificate" "/run/secrets/tls/tls.crt" "key" "/run/secrets/tls/tls.key" -}}
{{- $_ := set $server "tls" (merge (dict "certificates" (list $pair)) (default dict $server.tls)) -}}
{{- else -}}
{{- $_ := set $server "plaintext_beyond_loopback" true -}}
{{- end -}}
{{- if .Values.admin.enabled -}}
{{- $_ := set $server "admin" "0.0.0.0:8015" -}}
{{- $_ := set $server "admin_tls" true -}}
{{- $_ := set $server "admin_token_file" (printf "%s/%s" $secrets .Values.admin.tokenKey) -}}
{{- end -}}
{{- if not (hasKey $config.store "credentials") -}}
{{- $_ := set $config.store "credentials" (dict "file" (printf "%s/store.json" $secrets)) -}}
{{- end -}}
{{- if .Values.redis.url -}}
{{- $shared := merge (dict "url" .Values.redis.url) (default dict (default dict $config.limits).shared) -}}
{{- if .Values.redis.passwordKey -}}
{{- $_ := set $shared "password_file" (printf "%s/%s" $secrets .Values.redis.passwordKey) -}}
{{- end -}}
{{- $_ := set $config "limits" (merge (dict "shared" $shared) (default dict $config.limits)) -}}
{{- end -}}
{{- range $section, $settings := $config }}
[{{ $section }}]
{{- range $name, $value := $settings }}
{{- if not (kindIs "invalid" $value) }}
{{ include "subgate.tomlKey" $name }} = {{ include "subgate.toml" $value }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

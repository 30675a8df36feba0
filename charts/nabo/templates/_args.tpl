{{/* The flags of `nabo serve`, as the values say. Quoted: an IPv6 network may end with a colon. */}}
{{- define "nabo.serveFlags" -}}
- '--store=containerd'
- '--containerd-socket={{ .Values.containerd.socket }}'
- '--content-path={{ .Values.containerd.contentPath }}'
- '--config-dir={{ .Values.containerd.configDir }}'
{{- with .Values.containerd.configFile }}
- '--containerd-config={{ . }}'
{{- end }}
{{- range .Values.containerd.namespaces }}
- '--containerd-namespace={{ . }}'
{{- end }}
- '--mirror-addr={{ ternary "127.0.0.1" "[::]" .Values.hostNetwork }}:{{ .Values.ports.mirror }}'
{{- if not .Values.hostNetwork }}
{{- /* The CNI's portmap shows the node's connections with the bridge's address, which is the pod's gateway, or with one of the node. */}}
- '--mirror-from=gateway'
- '--mirror-from=$(NODE_ADDRESSES)'
{{- range .Values.mirrorFrom }}
- '--mirror-from={{ . }}'
{{- end }}
{{- end }}
- '--peer-addr=advertise:{{ .Values.ports.peer }}'
- '--router-addr=advertise:{{ .Values.ports.router }}'
- '--admin-addr=127.0.0.1:{{ .Values.ports.admin }}'
- '--admin-socket={{ include "nabo.adminSocketDir" . }}/admin.sock'
{{- range .Values.allowedHosts }}
- '--allowed-host={{ . }}'
{{- end }}
{{- if include "nabo.metricsEnabled" . }}
- '--metrics-addr=advertise:{{ .Values.ports.metrics }}'
{{- end }}
- '--bootstrap={{ include "nabo.bootstrap" . }}'
{{- with include "nabo.clusterDNS" . }}
- '--bootstrap-dns={{ . }}'
{{- end }}
{{- if include "nabo.clusterSecretName" . }}
- '--cluster-secret-file=/etc/nabo/cluster-secret/secret'
{{- else if .Values.insecureWithoutSecret }}
- '--insecure-without-secret=true'
{{- else if not (include "nabo.hasOwnSecretFlag" .) }}
{{- fail "there is no cluster secret, so every machine that reaches the peer and router ports could join: set clusterSecret.create, clusterSecret.existingSecret or insecureWithoutSecret" }}
{{- end }}
{{- with .Values.dataDir }}
- '--data-dir={{ . }}'
{{- end }}
- '--run-dir={{ include "nabo.adminSocketDir" . }}'
{{- if .Values.credentials.existingSecret }}
- '--credentials-file=/etc/nabo/credentials/config.json'
{{- end }}
{{- if ne (empty .Values.credentials.providers.configFile) (empty .Values.credentials.providers.binDir) }}
{{- fail "credentials.providers needs both configFile and binDir" }}
{{- end }}
{{- with .Values.credentials.providers.configFile }}
- '--credential-provider-config=/etc/nabo/credential-providers/{{ base . }}'
- '--credential-provider-bin-dir=/opt/nabo/credential-providers'
{{- end }}
{{- if .Values.mirrorToken.existingSecret }}
- '--mirror-token-file=/etc/nabo/mirror-token/token'
{{- end }}
{{- range $index, $ca := .Values.registryCAs }}
- '--registry-ca={{ $ca.registry }}=/etc/nabo/registry-ca/{{ $index }}/ca.crt'
{{- end }}
{{- range $index, $client := .Values.registryClientCerts }}
- '--registry-client-cert={{ $client.registry }}=/etc/nabo/registry-client-cert/{{ $index }}/tls.crt,/etc/nabo/registry-client-cert/{{ $index }}/tls.key'
{{- end }}
{{- range $registry, $hosts := .Values.tokenRealms }}
{{- range $hosts }}
- '--token-realm={{ $registry }}={{ . }}'
{{- end }}
{{- end }}
- '--registries={{ include "nabo.registrySet" .Values.registries }}'
{{- range .Values.include }}
- '--include={{ . }}'
{{- end }}
{{- range .Values.exclude }}
- '--exclude={{ . }}'
{{- end }}
- '--fallback={{ include "nabo.registrySet" .Values.fallback }}'
{{- range $registry, $urls := .Values.upstreams }}
- '--upstream={{ $registry }}={{ join "," $urls }}'
{{- end }}
- '--tag-policy={{ .Values.tagPolicy }}'
- '--private-images={{ .Values.privateImages }}'
{{- with .Values.peerBandwidth }}
- '--peer-bandwidth={{ . }}'
{{- end }}
{{- with .Values.upstreamBandwidth }}
- '--upstream-bandwidth={{ . }}'
{{- end }}
{{- if and .Values.zone (ne .Values.zone "auto") }}
- '--zone={{ .Values.zone }}'
{{- end }}
{{- /* The process of a pod that was deleted by force ends after its hook and its transfers. */}}
- '--port-wait={{ add .Values.shutdownGraceSeconds 10 }}s'
- '--shutdown-grace={{ .Values.shutdownGraceSeconds }}s'
- '--log-level={{ .Values.logLevel }}'
{{- end }}

{{/*
Where `nabo pull` in the pod finds the mirror. The other commands find the daemon by --admin-socket; a --admin-url would lead them to the
admin listener, which refuses `warm` and answers about public content only.
*/}}
{{- define "nabo.clientFlags" -}}
- '--mirror-url=http://127.0.0.1:{{ .Values.ports.mirror }}'
{{- end }}

{{/*
All of them as environment, and not as arguments: `nabo doctor` and every other command that is run in the pod then has them as well. What
comes more than once stands with blanks between. What extraEnv names is left to it.
*/}}
{{- define "nabo.environment" -}}
{{- $names := list }}
{{- $values := dict }}
{{- range concat (fromYamlArray (include "nabo.serveFlags" .)) (fromYamlArray (include "nabo.clientFlags" .)) }}
{{- $parts := splitn "=" 2 . }}
{{- $name := printf "NABO_%s" ($parts._0 | trimPrefix "--" | replace "-" "_" | upper) }}
{{- if hasKey $values $name }}
{{- $_ := set $values $name (printf "%s %s" (get $values $name) $parts._1) }}
{{- else }}
{{- $names = append $names $name }}
{{- $_ := set $values $name $parts._1 }}
{{- end }}
{{- end }}
{{- $taken := list }}
{{- range .Values.extraEnv }}
{{- $taken = append $taken .name }}
{{- end }}
{{- if and .Values.credentials.helpersDir (not (has "PATH" $taken)) }}
- name: PATH
  value: /usr/bin:/opt/nabo/credential-helpers
{{- end }}
{{- range $names }}
{{- if not (has . $taken) }}
- name: {{ . }}
  value: {{ get $values . | quote }}
{{- end }}
{{- end }}
{{- end }}

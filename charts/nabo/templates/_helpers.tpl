{{- define "nabo.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "nabo.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "nabo.selectorLabels" -}}
app.kubernetes.io/name: {{ include "nabo.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The same labels, as kubectl takes them. */}}
{{- define "nabo.selector" -}}
app.kubernetes.io/name={{ include "nabo.name" . }},app.kubernetes.io/instance={{ .Release.Name }}
{{- end }}

{{- define "nabo.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "nabo.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "nabo.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "nabo.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name is needed when serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "nabo.image" -}}
{{- if .Values.image.digest }}
{{- $tag := ternary (printf ":%s" .Values.image.tag) "" (ne .Values.image.tag "") }}
{{- printf "%s%s@%s" .Values.image.repository $tag .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* The name of the Secret with the cluster secret; empty if there is none. */}}
{{- define "nabo.clusterSecretName" -}}
{{- if .Values.clusterSecret.existingSecret }}
{{- .Values.clusterSecret.existingSecret }}
{{- else if .Values.clusterSecret.create }}
{{- printf "%s-cluster-secret" (include "nabo.fullname" . | trunc 48 | trimSuffix "-") }}
{{- end }}
{{- end }}

{{/* Whether extraEnv or extraArgs say where the cluster secret is, or that there is none; empty if not. */}}
{{- define "nabo.hasOwnSecretFlag" -}}
{{- range .Values.extraEnv }}
{{- if has .name (list "NABO_CLUSTER_SECRET_FILE" "NABO_INSECURE_WITHOUT_SECRET") }}true{{ end }}
{{- end }}
{{- range .Values.extraArgs }}
{{- if or (hasPrefix "--cluster-secret-file" .) (hasPrefix "--insecure-without-secret" .) }}true{{ end }}
{{- end }}
{{- end }}

{{/*
The address of the cluster's DNS as the cluster has it; empty where Helm sees no cluster. A template cannot catch the error of a lookup that is
forbidden, but Helm's message quotes the name of the template.
*/}}
{{- define "clusterDNS is empty, so Helm looks for it: set clusterDNS, or let Helm list the Services of kube-system" -}}
{{- $found := "" }}
{{- $services := lookup "v1" "Service" "kube-system" "" }}
{{- range $services.items }}
{{- if and (eq (get (default dict .metadata.labels) "k8s-app") "kube-dns") .spec.clusterIP (ne .spec.clusterIP "None") }}
{{- /* `kube-dns-upstream` of a node-local cache has the label too. */}}
{{- if or (not $found) (eq .metadata.name "kube-dns") }}
{{- $found = .spec.clusterIP }}
{{- end }}
{{- end }}
{{- end }}
{{- $found }}
{{- end }}

{{/* The cluster's DNS: what is said, else what the cluster calls so; empty where Helm sees no cluster. */}}
{{- define "nabo.clusterDNS" -}}
{{- if .Values.clusterDNS }}
{{- .Values.clusterDNS }}
{{- else }}
{{- include "clusterDNS is empty, so Helm looks for it: set clusterDNS, or let Helm list the Services of kube-system" . }}
{{- end }}
{{- end }}

{{- define "nabo.bootstrap" -}}
{{- if .Values.bootstrap }}
{{- .Values.bootstrap }}
{{- else }}
{{- printf "dns:%s.%s.svc.%s:%v" (include "nabo.fullname" .) .Release.Namespace .Values.clusterDomain .Values.ports.router }}
{{- end }}
{{- end }}

{{/* `all`, `none`, or a list with commas. */}}
{{- define "nabo.registrySet" -}}
{{- if kindIs "slice" . }}{{ join "," . }}{{ else }}{{ . }}{{ end }}
{{- end }}

{{- define "nabo.metricsEnabled" -}}
{{- if or .Values.metrics.enabled (not .Values.hostNetwork) }}true{{ end }}
{{- end }}

{{- define "nabo.securityContext" -}}
{{- $context := deepCopy .Values.securityContext }}
{{- if .Values.seLinuxOptions }}
{{- $_ := set $context "seLinuxOptions" .Values.seLinuxOptions }}
{{- end }}
{{- toYaml $context }}
{{- end }}

{{- define "nabo.configureArgs" -}}
- configure
- containerd
- --config-dir={{ .Values.containerd.configDir }}
- --mirror-url=http://127.0.0.1:{{ .Values.ports.mirror }}
- --registries={{ include "nabo.registrySet" .Values.registries }}
- --mode={{ .Values.configure.mode }}
- --resolve-tags={{ .Values.configure.resolveTags }}
{{- if .Values.mirrorToken.existingSecret }}
- --mirror-token-file=/etc/nabo/mirror-token/token
{{- end }}
{{- end }}

{{/* What configure and restore need of the node. */}}
{{- define "nabo.configureMounts" -}}
- name: config-dir
  mountPath: {{ .Values.containerd.configDir }}
{{- if .Values.mirrorToken.existingSecret }}
- name: mirror-token
  mountPath: /etc/nabo/mirror-token
  readOnly: true
{{- end }}
{{- end }}

{{/* The directory of containerd's configuration; empty if it is not mounted for itself. */}}
{{- define "nabo.containerdConfigDir" -}}
{{- if .Values.containerd.configFile }}
{{- $directory := dir .Values.containerd.configFile }}
{{- $mounted := list (dir .Values.containerd.socket) (clean .Values.containerd.contentPath) }}
{{- if .Values.configure.enabled }}
{{- $mounted = append $mounted (clean .Values.containerd.configDir) }}
{{- end }}
{{- if not (has $directory $mounted) }}{{ $directory }}{{ end }}
{{- end }}
{{- end }}

{{/* The directory of the admin socket and of `--run-dir`, in the pod and on the node alike, so that one path is right in messages on both. */}}
{{- define "nabo.adminSocketDir" -}}
{{- default "/run/nabo" .Values.adminSocketDir }}
{{- end }}

{{/* With host networking the kubelet reaches the admin listener on loopback; else the probes of the metrics listener. */}}
{{- define "nabo.probe" -}}
{{- $values := (index . 0).Values }}
httpGet:
  path: {{ index . 1 }}
  {{- if $values.hostNetwork }}
  host: 127.0.0.1
  port: {{ $values.ports.admin }}
  {{- else }}
  port: metrics
  {{- end }}
{{- end }}

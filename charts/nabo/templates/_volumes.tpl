{{- define "nabo.volumes" -}}
- name: containerd-socket
  hostPath:
    path: {{ dir .Values.containerd.socket }}
    type: Directory
- name: content
  hostPath:
    path: {{ .Values.containerd.contentPath }}
    type: Directory
{{- with include "nabo.containerdConfigDir" . }}
- name: containerd-config
  hostPath:
    path: {{ . }}
    # containerd works without it, and then Nabo must as well. An empty directory means the same to containerd.
    type: DirectoryOrCreate
{{- end }}
{{- if .Values.configure.enabled }}
- name: config-dir
  hostPath:
    path: {{ .Values.containerd.configDir }}
    type: DirectoryOrCreate
{{- end }}
{{- with .Values.dataDir }}
- name: data
  hostPath:
    path: {{ . }}
    type: DirectoryOrCreate
{{- end }}
- name: admin-socket
  {{- if .Values.adminSocketDir }}
  hostPath:
    path: {{ .Values.adminSocketDir }}
    type: DirectoryOrCreate
  {{- else }}
  emptyDir: {}
  {{- end }}
{{- with include "nabo.clusterSecretName" . }}
- name: cluster-secret
  secret:
    secretName: {{ . }}
    defaultMode: 256 # 0400
    items:
      - key: {{ $.Values.clusterSecret.key }}
        path: secret
{{- end }}
{{- with .Values.credentials.existingSecret }}
- name: credentials
  secret:
    secretName: {{ . }}
    defaultMode: 256 # 0400
    items:
      - key: {{ $.Values.credentials.key }}
        path: config.json
{{- end }}
{{- with .Values.credentials.helpersDir }}
- name: credential-helpers
  hostPath:
    path: {{ . }}
    type: Directory
{{- end }}
{{- with .Values.credentials.providers.configFile }}
- name: credential-provider-config
  hostPath:
    path: {{ dir . }}
    type: Directory
{{- end }}
{{- with .Values.credentials.providers.binDir }}
- name: credential-providers
  hostPath:
    path: {{ . }}
    type: Directory
{{- end }}
{{- with .Values.mirrorToken.existingSecret }}
- name: mirror-token
  secret:
    secretName: {{ . }}
    defaultMode: 256 # 0400
    items:
      - key: {{ $.Values.mirrorToken.key }}
        path: token
{{- end }}
{{- range $index, $ca := .Values.registryCAs }}
- name: registry-ca-{{ $index }}
  {{- if $ca.configMap }}
  configMap:
    name: {{ $ca.configMap }}
  {{- else }}
  secret:
    secretName: {{ $ca.secret }}
  {{- end }}
    items:
      - key: {{ $ca.key | default "ca.crt" }}
        path: ca.crt
{{- end }}
{{- range $index, $client := .Values.registryClientCerts }}
- name: registry-client-cert-{{ $index }}
  secret:
    secretName: {{ $client.secret }}
    defaultMode: 256 # 0400
{{- end }}
{{- with .Values.hostCertificates }}
- name: host-certificates
  hostPath:
    path: {{ . }}
    type: File
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "nabo.serveMounts" -}}
- name: containerd-socket
  mountPath: {{ dir .Values.containerd.socket }}
  readOnly: true
  mountPropagation: {{ .Values.containerd.mountPropagation }}
- name: content
  mountPath: {{ .Values.containerd.contentPath }}
  readOnly: true
{{- with include "nabo.containerdConfigDir" . }}
- name: containerd-config
  mountPath: {{ . }}
  readOnly: true
{{- end }}
{{- with .Values.dataDir }}
- name: data
  mountPath: {{ . }}
{{- end }}
- name: admin-socket
  mountPath: {{ include "nabo.adminSocketDir" . }}
{{- if include "nabo.clusterSecretName" . }}
- name: cluster-secret
  mountPath: /etc/nabo/cluster-secret
  readOnly: true
{{- end }}
{{- if .Values.credentials.existingSecret }}
- name: credentials
  mountPath: /etc/nabo/credentials
  readOnly: true
{{- end }}
{{- if .Values.credentials.helpersDir }}
- name: credential-helpers
  mountPath: /opt/nabo/credential-helpers
  readOnly: true
{{- end }}
{{- if .Values.credentials.providers.configFile }}
- name: credential-provider-config
  mountPath: /etc/nabo/credential-providers
  readOnly: true
- name: credential-providers
  mountPath: /opt/nabo/credential-providers
  readOnly: true
{{- end }}
{{- if .Values.configure.enabled }}
{{ include "nabo.configureMounts" . }}
{{- else if .Values.mirrorToken.existingSecret }}
- name: mirror-token
  mountPath: /etc/nabo/mirror-token
  readOnly: true
{{- end }}
{{- range $index, $ca := .Values.registryCAs }}
- name: registry-ca-{{ $index }}
  mountPath: /etc/nabo/registry-ca/{{ $index }}
  readOnly: true
{{- end }}
{{- range $index, $client := .Values.registryClientCerts }}
- name: registry-client-cert-{{ $index }}
  mountPath: /etc/nabo/registry-client-cert/{{ $index }}
  readOnly: true
{{- end }}
{{- if .Values.hostCertificates }}
- name: host-certificates
  mountPath: /etc/ssl/certs/ca-certificates.crt
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

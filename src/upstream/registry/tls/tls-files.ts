/** A client certificate and its key; one file may hold both. */
export interface ClientFiles {
  readonly cert: string
  readonly key: string
}

/** What a configuration says about TLS with hosts of a registry. Paths are absolute. */
export interface HostTls {
  /** Of the hosts: scheme, name and port count. */
  readonly urls: readonly URL[]
  readonly ca: readonly string[]
  readonly client: readonly ClientFiles[]
  readonly skipVerify: boolean
  /** The file or flag that says so. */
  readonly from: string
}

/** What the hosts of a registry need. `problem`: why the configuration of a registry cannot be used, in one sentence. */
export interface RegistryTlsFiles {
  readonly hosts: readonly HostTls[]
  readonly problem?: string
}

/** Finds the configuration of a registry. Rejects with unexpected errors only; a file that cannot be used is a `problem`. */
export type FindTlsFiles = (registry: string) => Promise<RegistryTlsFiles>

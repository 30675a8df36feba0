import type { CredentialTrouble } from '../../upstream/registry/credential-troubles.ts'
import { listed } from '../listed.ts'
import { type Check, ok, warning } from '../check.ts'

/** As many as troubles are listed. */
const MAX_FIXES = 5

/** Whether registries take this node's own credentials, the programs and files that they come from can be used, and token servers may have them. */
export const credentialsCheck: Check = {
  id: 'credentials',
  title: 'credentials',
  async run(node) {
    const { credentialsFile, credentialProviderConfig } = node.settings
    const daemon = await node.daemon()
    if (daemon.state !== 'running') return undefined
    const troubles = daemon.credentialTroubles
    const file = credentialsFile ?? credentialProviderConfig
    if (troubles.length === 0)
      return file === undefined ? undefined : ok('no registry has refused credentials of this node lately')
    const fixes = new Set(troubles.map((trouble) => fixOf(trouble, file ?? '')))
    return warning(listed(troubles.map(textOf)), [...fixes].slice(0, MAX_FIXES).join('; '))
  },
}

function textOf(trouble: CredentialTrouble): string {
  switch (trouble.type) {
    case 'refused': {
      const what = trouble.account === '' ? 'credentials' : `the account ${trouble.account}`
      const where = trouble.address === trouble.registry ? trouble.registry : `${trouble.registry} (${trouble.address})`
      return `${where} refuses ${what} of this node`
    }
    case 'withheld':
      return `${trouble.registry} sends for tokens to ${trouble.tokenServer}, which is in another domain: no credentials are sent there`
    case 'program':
      return `${trouble.program} gives no credentials: ${trouble.reason}`
    case 'file':
      return `${trouble.reason}, so what it said before is used`
  }
}

function fixOf(trouble: CredentialTrouble, file: string): string {
  switch (trouble.type) {
    case 'refused':
      return `put user and password right in ${file}, which is read again within seconds`
    case 'withheld':
      return `if that host may have the credentials of the registry, start Nabo with ${trouble.flag}`
    case 'program':
      return "install the program where the daemon's PATH finds it, and run it by hand as the daemon's user"
    case 'file':
      return `put ${file} right`
  }
}

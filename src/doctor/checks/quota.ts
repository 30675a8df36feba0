import { isUsedUp } from '../../upstream/quota/quota-view.ts'
import { type Check, ok, unknown, warning } from '../check.ts'

/** A tenth is less than one rollout of a handful of images. */
const LITTLE = 0.1

/** What is left of the quota of Docker Hub, or of another registry that counts. */
export const quotaCheck: Check = {
  id: 'quota',
  title: 'quota',
  async run(node) {
    const quotas = await node.quotas()
    if (quotas === undefined) return unknown('no pull has asked a registry yet: the answers to pulls name the quota')
    const least = quotas.toSorted((a, b) => a.remaining / (a.limit || 1) - b.remaining / (b.limit || 1))[0]
    if (least === undefined) {
      const looks = await node.upstreams().catch(() => [])
      if (looks.length === 0) return undefined
      if (looks.every(({ failure }) => failure !== undefined)) return unknown('no registry could be asked')
      return ok('no registry has named a limit')
    }
    const { host, limit, remaining, source, windowSeconds } = least
    const window = windowSeconds > 0 ? ` in ${+(windowSeconds / 3600).toFixed(1)} hours` : ''
    const says = `${remaining} of ${limit} pulls${window} are left at ${host} for ${source}`
    const fix =
      'name credentials with --credentials-file, or a second address: --upstream docker.io=https://registry-1.docker.io,https://mirror.gcr.io'
    if (isUsedUp(least, Date.now())) return warning(`the quota is used up: ${says}`, fix)
    if (remaining < limit * LITTLE) return warning(`the quota runs out: ${says}`, fix)
    return ok(says)
  },
}

import { hour, minute, second } from '../../time/units.ts'
import type { QuotaView } from './quota-view.ts'

/** Says in one sentence for a pod's event that a quota is used up: until when, whose it is, and how much. The time comes first: long texts are cut at their end. */
export function usedUpText(view: QuotaView): string {
  const window = view.windowSeconds === 0 ? '' : ` in ${spanText(view.windowSeconds * second)}`
  const end = view.endsAt === undefined ? '' : ` until ${timeText(view.endsAt)} at the latest`
  return `the quota of ${view.registry} is used up${end}: ${view.host} allows ${view.source} ${view.limit} pulls${window} and 0 remain`
}

function spanText(ms: number): string {
  if (ms % hour === 0) return `${ms / hour} h`
  return ms % minute === 0 ? `${ms / minute} min` : `${ms / second} s`
}

/** To the second above: nothing is promised too early. */
function timeText(at: number): string {
  return new Date(Math.ceil(at / second) * second).toISOString().replace('.000Z', 'Z')
}

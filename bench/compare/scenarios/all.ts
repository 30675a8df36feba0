import type { Version } from '../images.ts'
import type { Act, Stage } from '../rig/stage.ts'
import type { Cast, Scenario } from './scenario.ts'

const QUOTA = 10
/** Of each that many a rolling update replaces one at a time. */
const NODES_PER_STEP = 5

/** An update that shares nothing would be like a first version. */
const bothVersions = ({ first, update }: Cast) => (update.heldBytes > 0 ? [first.words, update.words] : [first.words])
const firstVersion = ({ first }: Cast) => [first.words]

const oneAfterAnother: Scenario = {
  id: 'a',
  title: 'one node after another',
  description:
    'Nobody has the image; each node pulls when the one before has it and others can know that. The pauses in between are not counted.',
  withUpdate: 'if-shared',
  variants: bothVersions,
  play: (stage, cast) =>
    eachVersion(stage, cast, async (version) => {
      for (const number of stage.numbers()) {
        await stage.pull(number, version)
        await stage.settle([number], [version])
      }
    }),
}

const allAtOnce: Scenario = {
  id: 'b',
  title: 'all nodes at once',
  description: 'Nobody has the image; all nodes pull it in the same moment.',
  withLarge: true,
  withUpdate: 'if-shared',
  variants: bothVersions,
  play: (stage, cast) => eachVersion(stage, cast, (version) => stage.pullAll(stage.numbers(), version)),
}

const oneHasIt: Scenario = {
  id: 'c',
  title: 'one node has it',
  description: 'One node has the image, as others can know; all the others pull it in the same moment.',
  withLarge: true,
  variants: firstVersion,
  play: async (stage, { first }) => {
    await stage.seed([0], first)
    await stage.settle([0], [first])
    await stage.measure({ ...actOf(first), seeds: [0] }, () => stage.pullAll(stage.numbers(1), first))
  },
}

const rollingUpdate: Scenario = {
  id: 'd',
  title: 'rolling update',
  description:
    'All nodes have the first version; a fifth of them at a time, rounded up (of six: two), pulls the update, when the ones before have it and others can know that. The pauses in between are not counted.',
  withUpdate: 'always',
  variants: ({ update }) => [update.words],
  play: async (stage, { first, update }) => {
    const numbers = stage.numbers()
    await stage.seed(numbers, first)
    await stage.settle(numbers, [first])
    await stage.measure({ ...actOf(update), isUpdate: true }, async () => {
      for (const batch of batchesOf(numbers)) {
        await stage.pullAll(batch, update)
        await stage.settle(batch, [update])
      }
    })
  },
}

const registryDown: Scenario = {
  id: 'e',
  title: 'registry down',
  description: 'One node has the image; the registry refuses all connections when all the others pull it, by its tag.',
  variants: firstVersion,
  play: async (stage, { first }) => {
    await stage.seed([0], first)
    await stage.settle([0], [first])
    const down = { down: true }
    const prepare = () => stage.site.cluster.hub.setFaults({ registry: down, auth: down, cdn: down })
    await stage.measure({ ...actOf(first), seeds: [0], prepare, registryFails: true }, () =>
      stage.pullAll(stage.numbers(1), first),
    )
  },
}

const peerKilled: Scenario = {
  id: 'f',
  title: 'a mirror is killed midway',
  description:
    'Two nodes (of three or fewer: one) have the image and all the others pull it; when a third of it has arrived, the mirror process of the one that has sent most of it is killed, or the one cache that all share. What its containerd holds stays.',
  variants: firstVersion,
  play: async (stage, { first }) => {
    const seeds = stage.numbers().length > 3 ? [0, 1] : [0]
    const pullers = stage.numbers(seeds.length)
    await stage.seed(seeds, first)
    await stage.settle(seeds, [first])
    await stage.measure({ ...actOf(first), seeds }, async () => {
      await Promise.all([stage.pullAll(pullers, first), stage.killMidway(seeds, pullers, first, 1 / 3)])
    })
  },
}

const smallQuota: Scenario = {
  id: 'g',
  title: `a quota of ${QUOTA}`,
  description: `The registry allows ${QUOTA} manifests to all nodes together; they pull three images, one after the other, all nodes at once. An image of several platforms is two manifests.`,
  manyImages: true,
  hub: { quota: { anonymous: QUOTA, sharedAddress: '203.0.113.1' } },
  variants: (cast) => [quotaWords(cast)],
  play: async (stage, cast) => {
    const versions = [cast.first, ...cast.others]
    await stage.measure({ variant: quotaWords(cast), versions, registryFails: true }, async () => {
      for (const version of versions) await stage.pullAll(stage.numbers(), version)
    })
  },
}

export const SCENARIOS: readonly Scenario[] = [
  oneAfterAnother,
  allAtOnce,
  oneHasIt,
  rollingUpdate,
  registryDown,
  peerKilled,
  smallQuota,
]

/** A fifth of all at a time, rounded up. */
export function batchesOf(numbers: readonly number[]): number[][] {
  const size = Math.ceil(numbers.length / NODES_PER_STEP)
  const count = Math.ceil(numbers.length / size)
  return Array.from({ length: count }, (_, i) => numbers.slice(i * size, (i + 1) * size))
}

async function eachVersion(stage: Stage, cast: Cast, play: (version: Version) => Promise<void>): Promise<void> {
  await stage.measure(actOf(cast.first), () => play(cast.first))
  if (cast.update.heldBytes === 0) return
  await stage.settle(stage.numbers(), [cast.first])
  await stage.measure({ ...actOf(cast.update), isUpdate: true }, () => play(cast.update))
}

function actOf(version: Version): Act {
  return { variant: version.words, versions: [version] }
}

function quotaWords({ first }: Cast): string {
  return `three images: ${first.words}`
}

import type { Check } from './check.ts'
import { certificatesCheck } from './checks/certificates.ts'
import { clockCheck } from './checks/clock.ts'
import { configPathCheck } from './checks/config-path.ts'
import { containerdCheck } from './checks/containerd.ts'
import { contentCheck } from './checks/content.ts'
import { credentialsCheck } from './checks/credentials.ts'
import { hostsTomlCheck } from './checks/hosts-toml.ts'
import { imagesCheck } from './checks/images.ts'
import { loopCheck } from './checks/loop.ts'
import { peersCheck } from './checks/peers.ts'
import { podmanCheck } from './checks/podman.ts'
import { portsCheck } from './checks/ports.ts'
import { quotaCheck } from './checks/quota.ts'
import { reachableCheck } from './checks/reachable.ts'
import { secretCheck } from './checks/secret.ts'
import { settingsCheck } from './checks/settings.ts'
import { spaceCheck } from './checks/space.ts'
import { unpackedLayersCheck } from './checks/unpacked-layers.ts'
import { upstreamCheck } from './checks/upstream.ts'

/** In the order in which they are shown: from containerd and other clients outwards. */
export const ALL_CHECKS: readonly Check[] = [
  settingsCheck,
  containerdCheck,
  configPathCheck,
  hostsTomlCheck,
  imagesCheck,
  unpackedLayersCheck,
  contentCheck,
  spaceCheck,
  podmanCheck,
  portsCheck,
  secretCheck,
  peersCheck,
  reachableCheck,
  clockCheck,
  upstreamCheck,
  credentialsCheck,
  certificatesCheck,
  quotaCheck,
  loopCheck,
]

import type { Dispatcher } from 'undici'

/** The dispatcher, with a listener that is called when a request has got its connection and is written to it. */
export function onSent(dispatcher: Dispatcher, listener: () => void): Dispatcher {
  return dispatcher.compose((dispatch) => (options, handler) => dispatch(options, notingStart(handler, listener)))
}

function notingStart(handler: Dispatcher.DispatchHandler, listener: () => void): Dispatcher.DispatchHandler {
  return {
    onRequestStart: (...args) => {
      listener()
      handler.onRequestStart?.(...args)
    },
    onRequestUpgrade: (...args) => handler.onRequestUpgrade?.(...args),
    onResponseStart: (...args) => handler.onResponseStart?.(...args),
    onResponseData: (...args) => handler.onResponseData?.(...args),
    onResponseEnd: (...args) => handler.onResponseEnd?.(...args),
    onResponseError: (...args) => handler.onResponseError?.(...args),
  }
}

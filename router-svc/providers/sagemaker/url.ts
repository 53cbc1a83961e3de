import { GatewayError } from '../../../shared/errors.ts'
import { type Fields, text } from '../json.ts'
import type { Target, UpstreamRequest } from '../provider.ts'

/** A call of an endpoint, which is what a model is here. Throws GatewayError `bad_request` where there is no base. */
export function endpointRequest(body: Fields, target: Target): UpstreamRequest {
  if (target.base === '') throw new GatewayError('bad_request', 'litellm.BadRequestError: the deployment needs an AWS region.')
  const action = body['stream'] === true ? 'invocations-response-stream' : 'invocations'
  // One of several models that share the endpoint, as LiteLLM names it.
  const component = text(target.settings['model_id'])
  return {
    method: 'POST',
    url: `${target.base}/endpoints/${encodeURIComponent(target.model)}/${action}`,
    headers: {
      'content-type': 'application/json',
      ...(component === '' ? {} : { 'x-amzn-sagemaker-inference-component': component }),
    },
    body: JSON.stringify(body),
  }
}

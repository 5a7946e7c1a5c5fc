// An agent of LangGraph under OpenInference, with a scripted chat model.

const assert = require('node:assert');
const { LangChainInstrumentation } = require('@arizeai/openinference-instrumentation-langchain');
const { run } = require('../telemetry.cjs');

const instrumentation = new LangChainInstrumentation();
// Its package is no module that can be seen as it is loaded, so its documentation has this done by hand.
instrumentation.manuallyInstrument(require('@langchain/core/callbacks/manager'));

const call = (id, name) => ({ type: 'tool_call', id, name, args: { city: 'Lisbon' } });

const main = async () => {
  const { BaseChatModel } = require('@langchain/core/language_models/chat_models');
  const { AIMessage } = require('@langchain/core/messages');
  const { tool } = require('@langchain/core/tools');
  const { createAgent } = await import(require.resolve('langchain'));
  const { z } = require('zod');

  const said = (model, content, tool_calls, [input, output, cached, reasoned]) =>
    new AIMessage({
      content,
      tool_calls,
      usage_metadata: {
        input_tokens: input,
        output_tokens: output,
        total_tokens: input + output,
        input_token_details: { cache_read: cached },
        output_token_details: { reasoning: reasoned },
      },
      response_metadata: { model_name: model, finish_reason: tool_calls.length > 0 ? 'tool_calls' : 'stop' },
    });

  /** Says what is written down; a model without a script fails. */
  class ScriptedModel extends BaseChatModel {
    lc_serializable = true;

    constructor(fields) {
      super(fields);
      [this.model, this.script] = [fields.model, fields.script];
    }

    _llmType() {
      return 'scripted';
    }

    bindTools(tools, options) {
      return this.withConfig({
        tools: tools.map(({ name, description }) => ({ type: 'function', function: { name, description } })),
        ...options,
      });
    }

    invocationParams(options) {
      return { model: this.model, tools: options?.tools };
    }

    async _generate() {
      const message = this.script.shift();
      if (message === undefined) throw new Error('The model is on fire.');
      const {
        input_tokens: promptTokens,
        output_tokens: completionTokens,
        total_tokens: totalTokens,
      } = message.usage_metadata;
      return {
        generations: [{ text: message.content, message }],
        llmOutput: { tokenUsage: { promptTokens, completionTokens, totalTokens }, model_name: this.model },
      };
    }
  }

  const schema = z.object({ city: z.string() });
  const weather = tool(async ({ city }) => `Sunny in ${city}, 24 degrees.`, {
    name: 'get_weather',
    description: 'Say what the weather is like in a city.',
    schema,
  });
  const tide = tool(
    async () => {
      await new Promise((resolve) => setTimeout(resolve, 20)); // so that it ends last
      throw new Error('no tide table');
    },
    { name: 'get_tide', description: 'Say how high the tide is in a city.', schema },
  );

  const ask = (model, script, question) => {
    const scripted = new ScriptedModel({ model, script, maxRetries: 0 });
    const agent = createAgent({
      model: scripted,
      tools: [weather, tide],
      systemPrompt: 'Answer in one sentence.',
      name: 'weather',
    });
    return agent.invoke({ messages: [{ role: 'user', content: question }] }, { metadata: { thread_id: 'chat-lg' } });
  };
  const script = [
    said('scripted-1', 'Let me look.', [call('call_1', 'get_weather'), call('call_2', 'get_tide')], [25, 7, 10, 2]),
    said('scripted-1', 'It is sunny in Lisbon.', [], [40, 9, 0, 0]),
  ];
  const { messages } = await ask('scripted-1', script, 'What is the weather in Lisbon, and the tide?');
  assert.equal(messages.at(-1).content, 'It is sunny in Lisbon.');
  await assert.rejects(ask('broken-1', [], 'And now?'), /on fire/);
};

run(instrumentation, main);

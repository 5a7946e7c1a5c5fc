//! The names of attributes.

use std::collections::HashMap;
use std::sync::LazyLock;

/// The purpose of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::otel) enum Field {
    Tool,
    Agent,
    AgentVersion,
    Entity,
    Workflow,
    Model,
    System,
    InputMessages,
    OutputMessages,
    Transcript,
    Input,
    Output,
    Reasoning,
    ToolCalls,
    SessionInput,
    SessionOutput,
    TokensInput,
    TokensOutput,
    TokensCacheRead,
    TokensCacheWrite,
    TokensReasoning,
    TokensTotal,
    Usage,
    Cost,
    CostDetails,
    ErrorType,
    Level,
    ErrorMessage,
    ToolDefinitions,
    Conversation,
    Metadata,
    Tenant,
    User,
    Environment,
    Service,
    ServiceVersion,
}

/// Attributes with the same meaning.
pub(in crate::otel) struct Row {
    pub(in crate::otel) field: Field,
    /// Columns that the value goes to.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "for the documentation, which a test holds against it")
    )]
    pub(in crate::otel) goes_to: &'static str,
    /// Names of the attributes, best first: of several that are present, the first counts.
    pub(in crate::otel) names: &'static [&'static str],
}

/// Attributes, by their meaning.
pub(in crate::otel) static ATTRIBUTES: &[Row] = &[
    Row {
        field: Field::Tool,
        goes_to: "step `module`, if the kind is tool",
        names: &["gen_ai.tool.name", "tool.name", "tool_name", "ai.toolCall.name"],
    },
    Row {
        field: Field::Agent,
        goes_to: "step `module`, if the kind is agent; session `agent`",
        names: &["gen_ai.agent.name", "agent.name", "agent_name"],
    },
    Row {
        field: Field::Entity,
        goes_to: "step `module`, if no tool or agent is named",
        names: &["traceloop.entity.name"],
    },
    Row {
        field: Field::Workflow,
        goes_to: "session `agent`, if no agent is named",
        names: &[
            "gen_ai.workflow.name",
            "traceloop.workflow.name",
            "ai.telemetry.functionId",
            "langfuse.trace.name",
        ],
    },
    Row {
        field: Field::AgentVersion,
        goes_to: "session `agent_version`",
        names: &["gen_ai.agent.version", "traceloop.entity.version", "langfuse.version"],
    },
    Row {
        field: Field::Model,
        goes_to: "step `model`, session `model`",
        names: &[
            "gen_ai.response.model",
            "llm.response.model_name",
            "llm.model_name",
            "decision.response.model_name",
            "decision.model_name",
            "embedding.model_name",
            "reranker.model_name",
            "gen_ai.request.model",
            "llm.request.model_name",
            "decision.request.model_name",
            "llm.response.model",
            "llm.request.model",
            "model_name",
            "ai.response.model",
            "ai.model.id",
            "langfuse.observation.model.name",
            "mlflow.llm.model",
        ],
    },
    Row {
        field: Field::System,
        goes_to: "step `input`, before the messages",
        names: &["gen_ai.system_instructions"],
    },
    Row {
        field: Field::InputMessages,
        goes_to: "step `input`",
        names: &["gen_ai.input.messages", "ai.prompt.messages"],
    },
    Row {
        field: Field::OutputMessages,
        goes_to: "step `output`, decisions",
        names: &["gen_ai.output.messages"],
    },
    Row {
        field: Field::Transcript,
        goes_to: "step `input`: the messages before the first answer",
        names: &["pydantic_ai.all_messages", "all_messages_events"],
    },
    Row {
        field: Field::Input,
        goes_to: "step `input`",
        names: &[
            "gen_ai.tool.call.arguments",
            "tool_arguments",
            "input.value",
            "traceloop.entity.input",
            "gen_ai.task.input",
            "gen_ai.retrieval.query.text",
            "gen_ai.prompt",
            "tool.parameters",
            "mcp.request.argument",
            "ai.toolCall.args",
            "ai.prompt",
            "ai.value",
            "langfuse.observation.input",
            "mlflow.spanInputs",
            "gcp.vertex.agent.tool_call_args",
            "gcp.vertex.agent.llm_request",
        ],
    },
    Row {
        field: Field::Output,
        goes_to: "step `output`",
        names: &[
            "gen_ai.tool.call.result",
            "tool_response",
            "output.value",
            "final_result",
            "traceloop.entity.output",
            "gen_ai.task.output",
            "gen_ai.retrieval.documents",
            "gen_ai.completion",
            "mcp.response.value",
            "ai.toolCall.result",
            "ai.response.text",
            "ai.response.object",
            "langfuse.observation.output",
            "mlflow.spanOutputs",
            "gcp.vertex.agent.tool_response",
            "gcp.vertex.agent.llm_response",
        ],
    },
    Row {
        field: Field::Reasoning,
        goes_to: "step `output`, before the text; a decision's `rationale`",
        names: &["ai.response.reasoning"],
    },
    Row {
        field: Field::ToolCalls,
        goes_to: "step `output`, after the text; decisions",
        names: &["ai.response.toolCalls"],
    },
    Row { field: Field::SessionInput, goes_to: "session `input`", names: &["langfuse.trace.input"] },
    Row { field: Field::SessionOutput, goes_to: "session `summary`", names: &["langfuse.trace.output"] },
    Row {
        field: Field::TokensInput,
        goes_to: "step `tokens_input`",
        names: &[
            "gen_ai.usage.input_tokens",
            "llm.token_count.prompt",
            "decision.token_count.input",
            "gen_ai.usage.prompt_tokens",
            "llm.usage.prompt_tokens",
            "ai.usage.inputTokens",
            "ai.usage.promptTokens",
        ],
    },
    Row {
        field: Field::TokensOutput,
        goes_to: "step `tokens_output`",
        names: &[
            "gen_ai.usage.output_tokens",
            "llm.token_count.completion",
            "decision.token_count.output",
            "gen_ai.usage.completion_tokens",
            "llm.usage.completion_tokens",
            "ai.usage.outputTokens",
            "ai.usage.completionTokens",
        ],
    },
    Row {
        field: Field::TokensCacheRead,
        goes_to: "step `tokens_cache_read`",
        names: &[
            "gen_ai.usage.cache_read.input_tokens",
            "gen_ai.usage.cache_read_input_tokens",
            "llm.token_count.prompt_details.cache_read",
            "llm.usage.cache_read_input_tokens",
            "ai.usage.inputTokenDetails.cacheReadTokens",
            "ai.usage.cachedInputTokens",
            "gen_ai.usage.details.cache_read_tokens",
            "cache_read_tokens",
        ],
    },
    Row {
        field: Field::TokensCacheWrite,
        goes_to: "step `tokens_cache_write`",
        names: &[
            "gen_ai.usage.cache_creation.input_tokens",
            "gen_ai.usage.cache_write.input_tokens",
            "gen_ai.usage.cache_creation_input_tokens",
            "gen_ai.usage.cache_write_input_tokens",
            "llm.token_count.prompt_details.cache_write",
            "llm.usage.cache_creation_input_tokens",
            "ai.usage.inputTokenDetails.cacheWriteTokens",
            "gen_ai.usage.details.cache_write_tokens",
            "cache_creation_tokens",
        ],
    },
    Row {
        field: Field::TokensReasoning,
        goes_to: "step `tokens_reasoning`",
        names: &[
            "gen_ai.usage.reasoning.output_tokens",
            "gen_ai.usage.reasoning_tokens",
            "llm.token_count.completion_details.reasoning",
            "llm.usage.reasoning_tokens",
            "ai.usage.outputTokenDetails.reasoningTokens",
            "ai.usage.reasoningTokens",
            "gen_ai.usage.details.reasoning_tokens",
            "codex.usage.reasoning_output_tokens",
        ],
    },
    Row {
        field: Field::TokensTotal,
        goes_to: "whether parts of the tokens are counted apart",
        names: &[
            "gen_ai.usage.total_tokens",
            "llm.token_count.total",
            "llm.usage.total_tokens",
            "ai.usage.totalTokens",
        ],
    },
    Row {
        field: Field::Usage,
        goes_to: "the same columns of tokens, from JSON with all of them",
        names: &["langfuse.observation.usage_details", "mlflow.chat.tokenUsage"],
    },
    Row {
        field: Field::Cost,
        goes_to: "step `cost_usd`",
        names: &["llm.cost.total", "gen_ai.usage.cost", "operation.cost"],
    },
    Row {
        field: Field::CostDetails,
        goes_to: "step `cost_usd`, from the member `total` of JSON",
        names: &["langfuse.observation.cost_details"],
    },
    Row {
        field: Field::ErrorType,
        goes_to: "step `status` error; a finding's `pattern_type`",
        names: &["error.type"],
    },
    Row {
        field: Field::Level,
        goes_to: "step `status` error, if it is `ERROR`",
        names: &["langfuse.observation.level"],
    },
    Row {
        field: Field::ErrorMessage,
        goes_to: "step `error`, if the status has no message",
        names: &["error.message", "exception.message", "langfuse.observation.status_message"],
    },
    Row {
        field: Field::ToolDefinitions,
        goes_to: "a decision's `options_considered`",
        names: &[
            "gen_ai.tool.definitions",
            "gen_ai.request.tools",
            "llm.request.tools",
            "ai.prompt.tools",
            "mlflow.chat.tools",
        ],
    },
    Row {
        field: Field::Conversation,
        goes_to: "session `conversation_id`",
        names: &[
            "gen_ai.conversation.id",
            "session.id",
            "conversation.id",
            "conversation_id",
            "traceloop.association.properties.session_id",
            "traceloop.association.properties.conversation_id",
            "traceloop.association.properties.thread_id",
            "traceloop.association.properties.chat_id",
            "langfuse.session.id",
            "ai.telemetry.metadata.sessionId",
            "mlflow.trace.session",
            "langsmith.metadata.thread_id",
            "langsmith.metadata.session_id",
            "langsmith.metadata.conversation_id",
            "gcp.vertex.agent.session_id",
            "metadata.session_id",
            "session_id",
            "ai.settings.context.sessionId",
        ],
    },
    Row {
        field: Field::Metadata,
        goes_to: "session `conversation_id`, from the member `session_id`, `thread_id` or `conversation_id` of JSON",
        names: &["metadata"],
    },
    Row {
        field: Field::User,
        goes_to: "session `labels`: `user`",
        names: &[
            "user.id",
            "enduser.id",
            "traceloop.association.properties.user_id",
            "langfuse.user.id",
            "gen_ai.user",
            "llm.user",
            "ai.telemetry.metadata.userId",
            "mlflow.trace.user",
            "langsmith.metadata.user_id",
            "ai.settings.context.userId",
        ],
    },
    Row {
        field: Field::Tenant,
        goes_to: "session `tenant`",
        names: &["tenant.id", "traceloop.association.properties.tenant_id"],
    },
    Row {
        field: Field::Service,
        goes_to: "session `profile` (attribute of the resource)",
        names: &["service.name"],
    },
    Row {
        field: Field::ServiceVersion,
        goes_to: "session `agent_version`, if the agent has none (attribute of the resource)",
        names: &["service.version"],
    },
    Row {
        field: Field::Environment,
        goes_to: "session `labels`: `environment` (attribute of the resource or of a span)",
        names: &["deployment.environment.name", "deployment.environment", "langfuse.environment"],
    },
];

/// Lists that come as one attribute per value. The name of each goes on with an index and a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::otel) enum Family {
    InputMessages,
    OutputMessages,
    InputTexts,
    OutputTexts,
    Tools,
    Results,
    TraceResults,
    ConversationResults,
}

impl Family {
    /// Number of the families. `family as usize` is an index below it.
    pub(in crate::otel) const COUNT: usize = 8;
}

/// A family, with the beginnings of its attributes' names.
pub(in crate::otel) struct FamilyRow {
    pub(in crate::otel) family: Family,
    /// Columns that the values go to.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "for the documentation, which a test holds against it")
    )]
    pub(in crate::otel) goes_to: &'static str,
    pub(in crate::otel) prefixes: &'static [&'static str],
}

pub(in crate::otel) static FAMILIES: &[FamilyRow] = &[
    FamilyRow {
        family: Family::InputMessages,
        goes_to: "step `input`",
        prefixes: &["llm.input_messages.", "gen_ai.prompt."],
    },
    FamilyRow {
        family: Family::OutputMessages,
        goes_to: "step `output`, decisions",
        prefixes: &["llm.output_messages.", "gen_ai.completion."],
    },
    FamilyRow { family: Family::InputTexts, goes_to: "step `input`", prefixes: &["llm.prompts."] },
    FamilyRow {
        family: Family::OutputTexts,
        goes_to: "step `output`",
        prefixes: &["llm.choices.", "retrieval.documents.", "reranker.output_documents."],
    },
    FamilyRow {
        family: Family::Tools,
        goes_to: "a decision's `options_considered`",
        prefixes: &["llm.tools.", "llm.request.functions."],
    },
    FamilyRow {
        family: Family::Results,
        goes_to: "findings of the step",
        prefixes: &["annotations.", "evaluations."],
    },
    FamilyRow {
        family: Family::TraceResults,
        goes_to: "findings of the session, `scope` trace",
        prefixes: &["trace.annotations.", "trace.evaluations."],
    },
    FamilyRow {
        family: Family::ConversationResults,
        goes_to: "findings of the session, `scope` conversation",
        prefixes: &["session.annotations.", "session.evaluations."],
    },
];

/// Attributes whose names say nothing outside of one instrumentation, by the name of its scope.
pub(in crate::otel) static SCOPED: &[(&str, &[Row])] = &[
    (
        "com.anthropic.claude_code.tracing",
        &[
            Row {
                field: Field::Input,
                goes_to: "step `input`",
                names: &["user_prompt", "tool_input", "full_command", "file_path"],
            },
            Row { field: Field::Output, goes_to: "step `output`", names: &["response.model_output"] },
        ],
    ),
    (
        "logfire.openai_agents",
        &[
            Row { field: Field::Entity, goes_to: "step `module`", names: &["name", "logfire.msg"] },
            Row { field: Field::Input, goes_to: "step `input`", names: &["input", "raw_input"] },
            Row {
                field: Field::Output,
                goes_to: "step `output`, decisions",
                names: &["output", "response", "triggered"],
            },
            Row { field: Field::Conversation, goes_to: "session `conversation_id`", names: &["group_id"] },
            Row {
                field: Field::ErrorMessage,
                goes_to: "step `error`, if the status has no message",
                names: &["error"],
            },
        ],
    ),
];

/// The field that an attribute stands for in a scope, and the rank of its name among those of the field; 0 is best.
pub(in crate::otel) fn field(name: &str, scope: &str) -> Option<(Field, u8)> {
    // Made once, because every attribute of every span is looked up.
    static BY_NAME: LazyLock<HashMap<&str, (Field, u8)>> = LazyLock::new(|| {
        ATTRIBUTES
            .iter()
            .flat_map(|row| row.names.iter().zip(0..).map(|(name, place)| (*name, (row.field, place))))
            .collect()
    });
    BY_NAME.get(name).copied().or_else(|| {
        let (_, rows) = SCOPED.iter().find(|(own, _)| *own == scope)?;
        rows.iter().find_map(|row| {
            let place = row.names.iter().position(|own| *own == name)?;
            // After all names of the field that hold in every scope.
            Some((row.field, u8::try_from(place).map_or(u8::MAX, |place| place.saturating_add(128))))
        })
    })
}

/// The rank of an attribute among those that name a conversation; 0 is best. None for every other attribute.
#[cfg(feature = "server")]
pub(crate) fn conversation(name: &str) -> Option<u8> {
    field(name, "").filter(|(field, _)| *field == Field::Conversation).map(|(_, rank)| rank)
}

/// The list that an attribute is a part of, and the rest of its name, which begins with an index.
pub(in crate::otel) fn family(name: &str) -> Option<(Family, &str)> {
    FAMILIES
        .iter()
        .flat_map(|row| row.prefixes.iter().map(|prefix| (row.family, *prefix)))
        .find_map(|(family, prefix)| Some((family, name.strip_prefix(prefix)?)))
        // Without an index after the prefix an attribute is no part of a list.
        .filter(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()))
}
